use polyhead_compute::*;
use std::time::Instant;
fn main() {
    for threads in [1usize, 2] {
        let pool = Threads::new(threads).unwrap();
        for isa in Isa::available() {
            for (m, k, n) in [
                (2048usize, 384usize, 1536usize),
                (2048, 1536, 384),
                (2048, 384, 1152),
                (256, 384, 1536),
                (20, 384, 1536),
                (20, 1536, 384),
            ] {
                let w = StoredTensor::from_f32(vec![n, k], &vec![0.01; n * k]);
                let x = vec![0.5; m * k];
                let mut out = vec![0.0; m * n];
                pool.team(|team| {
                    let w = PackedMatrix::pack(isa, &[&w], team);
                    let mut best = f64::MAX;
                    let mut all = vec![];
                    for _ in 0..15 {
                        let t = Instant::now();
                        linear(team, &x, &w, Epilogue::default(), &mut out);
                        let s = t.elapsed().as_secs_f64();
                        best = best.min(s);
                        all.push(s);
                    }
                    all.sort_by(f64::total_cmp);
                    let g = 2.0 * (m * k * n) as f64 / 1e9;
                    println!(
                        "{threads} {} {m}x{k}x{n}: median {:.0} best {:.0} GFLOP/s",
                        isa.name(),
                        g / all[7],
                        g / best
                    );
                });
            }
        }
    }
}
