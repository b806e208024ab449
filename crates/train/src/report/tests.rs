//! The page as a whole.

use super::RunReport;
use super::sample::sample;

/// Draws the sample into `report.html` and `report.json` of the folder that
/// `POLYHEAD_REPORT_SAMPLE` names, to be looked at in a browser, wide and narrow,
/// light and dark.
#[test]
#[ignore = "writes a page for people to look at"]
fn draws_a_sample_to_look_at() {
    let folder = std::env::var_os("POLYHEAD_REPORT_SAMPLE")
        .map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    let report = sample();
    std::fs::write(folder.join("report.html"), report.to_html()).expect("folder can be written");
    let json = serde_json::to_vec_pretty(&report).expect("plain structures are JSON");
    std::fs::write(folder.join("report.json"), json).expect("folder can be written");
    let nothing = RunReport::default().to_html();
    std::fs::write(folder.join("empty.html"), nothing).expect("folder can be written");
}
