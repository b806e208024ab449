//! Times exact search: for each line on standard input, one search, and its seconds on standard output.
//!
//!     cargo run --release -p polyhead-model --example search_speed -- QUERIES CORPUS WIDTH TOP
//!
//! `bench/peers/search.py` alternates it with a product of the same size.

use std::io::{BufRead, Write};
use std::time::Instant;

use polyhead_compute::Random;
use polyhead_model::{Matrix, semantic_search};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes = std::env::args().skip(1).map(|size| size.parse());
    let sizes: Vec<usize> = sizes.collect::<Result<_, _>>()?;
    let [queries, corpus, width, top] = sizes[..] else {
        return Err(
            "expected the numbers of queries, of vectors, of their values and of hits".into()
        );
    };
    let mut random = Random::named(1, "search");
    let mut matrix = |rows: usize| {
        Matrix::new(rows, width, (0..rows * width).map(|_| random.normal()).collect())
    };
    let (queries, corpus) = (matrix(queries), matrix(corpus));
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        line?;
        let begin = Instant::now();
        let hits = semantic_search(&queries, &corpus, top);
        writeln!(out, "{}", begin.elapsed().as_secs_f64())?;
        out.flush()?;
        assert!(hits.iter().all(|hits| hits.len() == top.min(corpus.rows())));
    }
    Ok(())
}
