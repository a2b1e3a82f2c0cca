// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay --profile`: where the stub's instructions go.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::{Failure, bar, print};
use super::target::Target;
use crate::explain::trace::{Profile, Profiler};
use crate::report::{call_tree_text, chrome_trace, flame_graph, folded_stacks};

/// Where profiles go to.
#[derive(clap::Args)]
#[command(next_help_heading = "Profile")]
pub struct ProfileArgs {
    /// Run the case again, and write where its instructions go; may be given several times.
    ///
    /// The name says how: .txt a call tree, .svg a flame graph, .folded folded stacks, .json a time line for Perfetto or
    /// chrome://tracing. "-" prints the call tree.
    #[arg(long, value_name = "FILE", value_parser = output)]
    profile: Vec<Output>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Output {
    form: Form,
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    CallTree,
    FlameGraph,
    Folded,
    TimeLine,
}

fn output(text: &str) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output { form: Form::CallTree, path: None });
    }
    let path = Path::new(text);
    let form = match path.extension().and_then(|extension| extension.to_str()) {
        Some("txt") => Form::CallTree,
        Some("svg") => Form::FlameGraph,
        Some("folded") => Form::Folded,
        Some("json") => Form::TimeLine,
        _ => return Err("expected a name that ends in .txt, .svg, .folded or .json, or -".into()),
    };
    Ok(Output { form, path: Some(path.to_owned()) })
}

/// Writes the profiles that are wanted.
pub fn run(args: &ProfileArgs, target: &Target) -> Result<(), Failure> {
    if args.profile.is_empty() {
        return Ok(());
    }
    let setup = target.setup()?;
    let spinner = bar::spinner("blocks profiled");
    let tick = spinner.clone();
    let profiler = Profiler::new(&setup, target.names()?, move |blocks| tick.set_position(blocks));
    let run = target.observe(&setup, &Profiler::interest(), profiler);
    spinner.finish_and_clear();
    let (outcome, profiler) = run?;
    let profile = profiler.finish(&outcome);
    for output in &args.profile {
        let text = rendered(output.form, &profile, target);
        match &output.path {
            None => print(&text)?,
            Some(path) => std::fs::write(path, text)
                .with_context(|| path.display().to_string())
                .map_err(Failure::usage)?,
        }
    }
    Ok(())
}

fn rendered(form: Form, profile: &Profile, target: &Target) -> String {
    match form {
        Form::CallTree => call_tree_text(profile),
        Form::FlameGraph => {
            let Target { name, case, .. } = target;
            let title = format!(
                "Where the instructions of {name} go, loaded at {:#x}, {}-bit entry",
                case.load, case.protocol
            );
            flame_graph(profile, &title)
        }
        Form::Folded => folded_stacks(profile),
        Form::TimeLine => chrome_trace(profile),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_written() {
        let form = |text| output(text).map(|output| output.form);
        assert_eq!(form("-"), Ok(Form::CallTree));
        assert_eq!(form("a.b/calls.txt"), Ok(Form::CallTree));
        assert_eq!(form("flame.svg"), Ok(Form::FlameGraph));
        assert!(form("a.txt/calls").is_err() && form("").is_err());
    }
}
