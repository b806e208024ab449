"""Prints the licence texts of the crates that an SBOM names, equal texts once.

    python3 .ci/licences.py sbom.cdx.json > dependencies.txt
"""

import json
import subprocess
import sys
from pathlib import Path


def main() -> None:
    wanted = {(part["name"], part["version"]) for part in json.load(open(sys.argv[1]))["components"]}
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    crates_of_text: dict[str, list[str]] = {}
    without = []
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        if (package["name"], package["version"]) not in wanted or package["source"] is None:
            continue
        crate = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        files = sorted(
            path
            for pattern in ("LICEN[CS]E*", "COPYING*", "NOTICE*", "UNLICENSE*", "license*")
            for path in Path(package["manifest_path"]).parent.glob(pattern)
            if path.is_file()
        )
        for path in files:
            crates_of_text.setdefault(path.read_text(errors="replace").strip(), []).append(crate)
        if not files:
            without.append(crate)
    print("Crates without a licence file of their own, under the licence that they name:\n")
    print("\n".join(without))
    for text, crates in crates_of_text.items():
        print("\n" + "=" * 80 + "\n" + "\n".join(dict.fromkeys(crates)) + "\n" + "-" * 80 + "\n")
        print(text)


if __name__ == "__main__":
    main()
