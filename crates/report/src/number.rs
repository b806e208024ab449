//! Numbers in readable form.

use polyhead_train::larger_is_better;

/// Shown for a number that is missing or not finite.
const MISSING: &str = "–";

/// A number with about four significant digits.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return MISSING.to_owned() };
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e9 => format!("{value:.2e}"),
        size if size >= 1e4 => {
            format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(size.round() as u64))
        }
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        size if size >= 1.0 => format!("{value:.3}"),
        size if size >= 1e-3 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    };
    text.replace('-', "−")
}

/// A number without trailing zeros, as in a configuration: `0.01` or `5`.
pub(crate) fn short(value: Option<f64>) -> String {
    let text = number(value);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

pub(crate) fn percent(value: Option<f64>) -> String {
    match value.map(|value| 100.0 * value).filter(|value| value.is_finite()) {
        Some(value) if value.abs() < 1e6 => format!("{value:.1}%").replace('-', "−"),
        // The value is no share, but it must be shown somehow.
        Some(value) => format!("{}%", number(Some(value))),
        None => MISSING.to_owned(),
    }
}

/// Returns true if a score is a share, which is shown in percent.
pub(crate) fn is_share(metric: &str) -> bool {
    larger_is_better(metric)
        && !matches!(metric, "pearson" | "spearman" | "mcc" | "r2" | "quadratic_kappa")
        || metric == "hamming_loss"
}

/// A score in its usual unit.
pub(crate) fn score(metric: &str, value: Option<f64>) -> String {
    if is_share(metric) { percent(value) } else { number(value) }
}

/// The change of a score; `None` if one of the two values is missing.
pub(crate) fn change(metric: &str, from: Option<f64>, to: Option<f64>) -> Option<String> {
    let change = Some(to? - from?).filter(|change| change.abs() < 1e6)?;
    let text = if is_share(metric) {
        format!("{:+.1} points", 100.0 * change)
    } else {
        format!("{change:+.3}")
    };
    Some(text.replace('-', "−"))
}

pub(crate) fn metric_name(metric: &str) -> String {
    match metric {
        "mcc" => "Matthews correlation".to_owned(),
        "mse" => "mean squared error".to_owned(),
        "mae" => "mean absolute error".to_owned(),
        "r2" => "R²".to_owned(),
        "quadratic_kappa" => "quadratic weighted kappa".to_owned(),
        "pearson" => "Pearson correlation".to_owned(),
        "spearman" => "Spearman correlation".to_owned(),
        other => {
            let words = other.replace("f1", "F1").replace('_', ", ");
            words.replace("exact, match", "exact match").replace("hamming, loss", "Hamming loss")
        }
    }
}

/// A count with separators: `12,345`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A sum that stops at the largest number instead of overflowing: a record may have been edited
/// by hand.
pub(crate) fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// A learning rate: `5e-5`, `4.5e-5`, `0`.
pub(crate) fn rate(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => MISSING.to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) => {
            let (exact, rounded) = (format!("{value:e}"), format!("{value:.2e}"));
            let short = if exact.len() <= rounded.len() { exact } else { rounded };
            short.replace('-', "−")
        }
    }
}

/// A size in units of powers of ten: `3.1 MB`.
pub(crate) fn bytes(count: Option<u64>) -> String {
    let Some(count) = count else { return MISSING.to_owned() };
    let size = count as f64;
    match size {
        0.0..1e3 => format!("{count} B"),
        1e3..999_950.0 => format!("{:.1} kB", size / 1e3),
        999_950.0..999_950_000.0 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.2} GB", size / 1e9),
    }
}

/// A duration: `8.4 s`, `3 min 12 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|s| s.is_finite() && *s >= 0.0) else {
        return MISSING.to_owned();
    };
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", grouped(whole / 3600), whole % 3600 / 60),
    }
}

/// A count with its noun: `1 row`, `12,345 rows`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (Some(0.0), "0"),
            (Some(0.12345), "0.1235"),
            (Some(-1.5), "−1.500"),
            (Some(0.000012), "1.20e−5"),
            (Some(123.456), "123.5"),
            (Some(-1234567.0), "−1,234,567"),
            (Some(1e300), "1.00e300"),
            (Some(f64::NAN), "–"),
            (Some(f64::NEG_INFINITY), "–"),
            (None, "–"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected, "{value:?}");
        }
        assert_eq!(short(Some(0.01)), "0.01");
        assert_eq!(short(Some(5.0)), "5");
        assert_eq!(short(Some(20.0)), "20");
        assert_eq!(short(Some(12_300.0)), "12,300");
        assert_eq!(short(None), "–");
        assert_eq!(percent(Some(0.91449)), "91.4%");
        assert_eq!(percent(Some(f64::INFINITY)), "–");
        assert_eq!(percent(Some(1e308)), "–");
        assert_eq!(percent(Some(1e20)), "1.00e22%");
        assert_eq!(rate(Some(5e-5)), "5e−5");
        assert_eq!(rate(Some(4.5125e-5)), "4.51e−5");
        assert_eq!(rate(Some(f64::NAN)), "–");
        assert_eq!(bytes(Some(1_234_567)), "1.2 MB");
        assert_eq!(bytes(Some(999)), "999 B");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(counted(1, "row", "rows"), "1 row");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [
            (0.04, "0.0 s"),
            (9.96, "10 s"),
            (59.6, "1 min 0 s"),
            (3599.6, "1 h 0 min"),
            (7500.0, "2 h 5 min"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(Some(seconds)), expected);
        }
        assert_eq!(duration(Some(-1.0)), "–");
        assert_eq!(duration(Some(f64::NAN)), "–");
    }

    #[test]
    fn scores_know_their_unit() {
        assert_eq!(score("accuracy", Some(0.5)), "50.0%");
        assert_eq!(score("spearman", Some(0.5)), "0.5000");
        assert_eq!(score("loss", None), "–");
        assert_eq!(change("f1", Some(0.5), Some(0.625)).as_deref(), Some("+12.5 points"));
        assert_eq!(change("mse", Some(0.5), Some(0.25)).as_deref(), Some("−0.250"));
        assert_eq!(change("mse", None, Some(0.25)), None);
        assert_eq!(change("mse", Some(f64::NAN), Some(0.25)), None);
        assert_eq!(metric_name("f1_macro"), "F1, macro");
    }
}
