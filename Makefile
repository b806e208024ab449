# The common commands; `bash .ci/run` is what CI runs.
PROGRAM ?= target/release/polyhead
REFERENCE ?= target/reference/bin/python
REFERENCE_ST3 ?= target/reference-st3/bin/python

.PHONY: check test bits guides bench golden release

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	.ci/words
	.ci/deny

test:
	cargo test --workspace --locked

bits guides:
	cargo build --release --locked
	.ci/$@ $(PROGRAM)

bench:
	cargo bench -p polyhead-compute

# Needs the environments of reference/README.md, and MINILM=PATH/TO/all-MiniLM-L6-v2.
golden:
	$(REFERENCE) reference/make_tiny_models.py
	$(REFERENCE_ST3) reference/make_tiny_models.py
	$(REFERENCE) reference/make_encoder_goldens.py
	$(REFERENCE) reference/make_minilm_goldens.py --model $(MINILM)
	$(REFERENCE) reference/make_training_goldens.py
	$(REFERENCE) reference/make_published_heads.py
	$(REFERENCE) reference/make_trajectory_goldens.py
	$(REFERENCE) reference/make_tokenizer_goldens.py --minilm $(MINILM)
	$(REFERENCE) reference/make_family_tokenizers.py
	$(REFERENCE) reference/make_metric_goldens.py

release:
	.ci/release
