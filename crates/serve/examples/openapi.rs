//! Prints the OpenAPI document: `cargo run -p polyhead-serve --example openapi > crates/serve/openapi.json`.

fn main() {
    print!("{}", polyhead_serve::openapi_json());
}
