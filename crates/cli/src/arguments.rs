//! Defines the command line; each command's file defines its own arguments.

use clap::{Parser, Subcommand};

use crate::command::{
    bench, check_data, completions, demo, doctor, encode, eval, explain, fit, help, init, inspect,
    man, mine_negatives, predict, quantize, rerank, search, serve, similarity, tokenize, train,
    transfer,
};

const EXAMPLES: &str = "\
Examples:
  polyhead demo                                     everything in two minutes, offline
  polyhead encode \"Good morning\"                    one vector as JSON
  polyhead encode -i texts.txt -o vectors.npy       lines of text to a NumPy file
  polyhead similarity \"a cat\" \"a kitten\" \"a train\"
  polyhead fit reviews.csv -o runs/a                a model from your rows, in one command
  polyhead init reviews.csv                         a configuration for your rows
  polyhead train config.toml -o runs/a              tasks of your own
  polyhead predict runs/a \"The soup was cold.\"     all of them in one pass
  polyhead serve runs/a                             the same over HTTP
  polyhead encode -m my-model/ -i texts.jsonl --field title -o vectors.jsonl

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done, but rows were skipped,
130 stopped by Ctrl-C.";

/// Turns sentences into vectors whose distance shows how similar their meanings are,
/// and trains tasks on top of them: many heads, one pass.
///
/// Without --model, the built-in model all-MiniLM-L6-v2 is used: nothing to
/// download, nothing to configure.
#[derive(Debug, Parser)]
#[command(name = "polyhead", version, arg_required_else_help = true, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::DemoArgs),
    Encode(encode::EncodeArgs),
    Similarity(similarity::SimilarityArgs),
    Search(search::SearchArgs),
    MineNegatives(mine_negatives::MineNegativesArgs),
    Tokenize(tokenize::TokenizeArgs),
    Fit(fit::FitArgs),
    Init(init::InitArgs),
    Train(train::TrainArgs),
    Transfer(transfer::TransferArgs),
    CheckData(check_data::CheckDataArgs),
    Predict(predict::PredictArgs),
    Rerank(rerank::RerankArgs),
    Eval(eval::EvalArgs),
    Serve(serve::ServeArgs),
    Inspect(inspect::InspectArgs),
    Quantize(quantize::QuantizeArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    Help(help::HelpArgs),
    Explain(explain::ExplainArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_has_help() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no description");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {} has no help", argument.get_id());
            }
        }
    }
}
