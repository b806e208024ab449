"""Prints a list of the program's components (CycloneDX 1.6, JSON), from Cargo.lock by way of `cargo metadata`.

    python3 .ci/sbom.py TARGET > sbom.cdx.json

Only what is linked into `polyhead-cli` for that target: no crates for tests or for building alone.
"""

import json
import subprocess
import sys


def main() -> None:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", sys.argv[1]]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == "polyhead-cli")

    linked, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in linked:
            continue
        normal = [to["pkg"] for to in nodes[package]["deps"] if any(kind["kind"] is None for kind in to["dep_kinds"])]
        linked[package] = normal
        waiting += normal

    order = sorted(linked, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    checksums = checksums_of_lock()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[root], checksums) | {"type": "application"}},
        "components": [component(packages[id], checksums) for id in order if id != root],
        "dependencies": [
            {"ref": reference(packages[id]), "dependsOn": sorted(reference(packages[to]) for to in linked[id])}
            for id in order
        ],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def reference(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package: dict, checksums: dict) -> dict:
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        # Older crates write `MIT/Apache-2.0`, which is not SPDX.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def checksums_of_lock() -> dict:
    found, fields = {}, {}
    for line in open("Cargo.lock"):
        key, _, value = line.strip().partition(" = ")
        fields[key] = value.strip('"')
        if key == "checksum":
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


if __name__ == "__main__":
    main()
