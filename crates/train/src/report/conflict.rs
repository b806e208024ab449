//! The cosines between the gradients of tasks, read from the lines of `metrics.jsonl`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::multitask::{CONFLICT, JOINT};

/// The cosines between the gradients of tasks, over the steps; below 0, a step for one task undoes
/// progress of the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConflictReport {
    /// The last of the steps that each point is the mean of.
    pub steps: Vec<u64>,
    /// Each pair of tasks.
    pub pairs: Vec<PairConflict>,
    /// Each task and its cosine with the step of several tasks, one for each of `steps`; `None` if the task
    /// had no label.
    pub joint: Vec<(String, Vec<Option<f64>>)>,
}

/// The cosines between the gradients of two tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairConflict {
    /// Names of the tasks.
    pub tasks: (String, String),
    /// Groups of shared parameters from the input on, each with its cosine for each of the steps; `None`
    /// if a task had no label, or no gradient there.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

impl ConflictReport {
    /// Reads the lines of `metrics.jsonl`; `None` if no gradients were compared.
    ///
    /// - `tasks`: their names, in order
    /// - `groups`: names of the groups of parameters, from the input on
    pub fn of_metrics(lines: &str, tasks: &[String], groups: &[String]) -> Option<Self> {
        let mut points: Vec<(u64, Value)> = Vec::new();
        for line in lines.lines() {
            let Ok(mut line) = serde_json::from_str::<Value>(line) else { continue };
            let Some(step) = line["step"].as_u64() else { continue };
            let compared = line["hooks"][CONFLICT].take();
            if compared.is_object() {
                points.push((step, compared));
            }
        }
        if points.is_empty() {
            return None;
        }
        let cosines = |name: String| -> Vec<Option<f64>> {
            points.iter().map(|(_, found)| found[&name].as_f64()).collect()
        };
        let any = |cosines: &Vec<Option<f64>>| cosines.iter().any(Option::is_some);
        let pairs = (0..tasks.len()).flat_map(|b| (0..b).map(move |a| (&tasks[a], &tasks[b])));
        let pairs = pairs.map(|(a, b)| {
            let of_group = |group: &String| (group.clone(), cosines(format!("{a} {b} {group}")));
            let groups = groups.iter().map(of_group).filter(|(_, cosines)| any(cosines));
            PairConflict { tasks: (a.clone(), b.clone()), groups: groups.collect() }
        });
        let joint = tasks.iter().map(|task| (task.clone(), cosines(format!("{task} {JOINT}"))));
        Some(Self {
            steps: points.iter().map(|(step, _)| *step).collect(),
            pairs: pairs.filter(|pair| !pair.groups.is_empty()).collect(),
            joint: joint.filter(|(_, cosines)| any(cosines)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_those_of_the_lines() {
        let lines = concat!(
            r#"{"step":10,"tasks":{}}"#,
            "\n",
            r#"{"step":20,"hooks":{"conflict":{"a b layers.0":-0.5,"a joint":0.9}}}"#,
            "\n",
            r#"{"step":30,"dev":{}}"#,
            "\n",
            r#"{"step":40,"hooks":{"conflict":{"a b layers.0":0.25,"a b layers.1":1.0,"b joint":0.1}}}"#,
        );
        let [tasks, groups] =
            [["a", "b"], ["layers.0", "layers.1"]].map(|names| names.map(str::to_owned));
        let found = ConflictReport::of_metrics(lines, &tasks, &groups).unwrap();
        assert_eq!(found.steps, [20, 40]);
        let expected = PairConflict {
            tasks: ("a".to_owned(), "b".to_owned()),
            groups: vec![
                ("layers.0".to_owned(), vec![Some(-0.5), Some(0.25)]),
                ("layers.1".to_owned(), vec![None, Some(1.0)]),
            ],
        };
        assert_eq!(found.pairs, [expected]);
        let joint = |task: &str, cosines: [Option<f64>; 2]| (task.to_owned(), cosines.to_vec());
        assert_eq!(found.joint, [joint("a", [Some(0.9), None]), joint("b", [None, Some(0.1)])]);
        assert_eq!(ConflictReport::of_metrics("{\"step\":1}\n", &tasks, &groups), None);
    }
}
