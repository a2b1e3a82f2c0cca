// SPDX-License-Identifier: GPL-2.0-only
//! Small machines that are traced and profiled.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::*;
use crate::machine::testing::{LOAD, setup};
use crate::machine::{End, Engine, Outcome, Setup, UnicornEngine};
use crate::range::Range;

/// call f; call f; cli; hlt; nop; f: mov $3, %ecx; 1: dec %ecx; jnz 1b; ret
const CALLS: &[u8] = b"\xe8\x08\0\0\0\xe8\x03\0\0\0\xfa\xf4\x90\xb9\x03\0\0\0\x49\x75\xfd\xc3";
/// mov $0x210000, %esp
const STACK: &[u8] = b"\xbc\0\0\x21\0";

fn with_stack(code: &[u8]) -> Setup {
    setup(&[STACK, code].concat())
}

struct Named;

impl FunctionNames for Named {
    fn function(&self, offset: u64) -> Option<Function> {
        let name = |start, name: &str| Some(Function { start, name: name.into() });
        match offset {
            0..18 => name(0, "start"),
            18..0x100 => name(18, "f"),
            _ => None,
        }
    }
}

fn profile(setup: &Setup, names: impl FunctionNames + 'static) -> (Outcome, Profile) {
    let profiler = Profiler::new(setup, Box::new(names), |_| {});
    let interest = Profiler::interest();
    let engine = UnicornEngine::new();
    let (outcome, profiler) = engine.observe_once(setup, &interest, profiler).unwrap();
    let profile = profiler.finish(&outcome);
    (outcome, profile)
}

/// A node: depth, name, word for how it was entered, entries, own instructions, instructions with callees.
type Shape<'a> = (usize, &'a str, Option<&'a str>, u64, u64, u64);

fn shape(tree: &CallTree) -> Vec<Shape<'_>> {
    let mut depths = Vec::new();
    let mut shape = Vec::new();
    for node in &tree.nodes {
        let depth = node.parent.map_or(0, |parent: usize| depths[parent] + 1);
        depths.push(depth);
        let (own, all) = (node.own_instructions, node.instructions);
        shape.push((depth, tree.name(node), node.how.word(), node.entries, own, all));
    }
    shape
}

#[test]
fn instructions_are_counted_where_they_run_and_in_all_callers() {
    let setup = with_stack(CALLS);
    let (outcome, profile) = profile(&setup, Unnamed);
    assert_eq!(outcome.end, End::Halted);
    let tree = &profile.tree;
    // mov, two calls, cli and hlt; each call runs mov, three times dec and jnz, and ret.
    assert_eq!(
        shape(tree),
        [(0, "stub+0x0", Some("entry"), 1, 5, 21), (1, "stub+0x12", None, 2, 16, 16)]
    );
    assert_eq!((tree.instructions(), tree.blocks()), (21, tree.nodes[0].blocks));
    assert!(!tree.cut);
    let spans: Vec<_> =
        profile.spans.iter().map(|span| (span.depth, span.start, span.end)).collect();
    assert_eq!(spans, [(0, 0, 21), (1, 2, 10), (1, 11, 19)]);
    let plain = UnicornEngine::new().run(&setup).unwrap();
    assert_eq!((plain.end, plain.registers), (outcome.end, outcome.registers));
}

#[test]
fn functions_have_the_names_that_are_known() {
    let (_, profile) = profile(&with_stack(CALLS), Named);
    let names: Vec<&str> = shape(&profile.tree).into_iter().map(|node| node.1).collect();
    assert_eq!(names, ["start", "f"]);
}

#[test]
fn what_only_asks_where_it_is_or_jumps_by_a_return_is_no_call() {
    // call 1f; 1: pop %ebx; push $0x200000 + 5 + 13 (f); ret; f: hlt
    let code = b"\xe8\0\0\0\0\x5b\x68\x12\0\x20\0\xc3\x90\xf4";
    let (_, profile) = profile(&with_stack(code), Named);
    assert_eq!(
        shape(&profile.tree),
        [(0, "start", Some("entry"), 1, 5, 5), (0, "f", Some("ret"), 1, 1, 1)]
    );
}

#[test]
fn a_jump_to_another_function_takes_its_place_and_returns_to_its_caller() {
    // call 1f; hlt; nops; 1: jmp f; f: ret
    let code = b"\xe8\x06\0\0\0\xf4\x90\x90\x90\x90\x90\xeb\x00\xc3";
    let (outcome, profile) = profile(&with_stack(code), Named);
    assert_eq!(outcome.end, End::Halted);
    // The piece that jumps belongs to "start" by its name.
    assert_eq!(
        shape(&profile.tree),
        [
            (0, "start", Some("entry"), 1, 3, 5),
            (1, "start", None, 1, 1, 1),
            (1, "f", Some("jump"), 1, 1, 1),
        ]
    );
}

#[test]
fn instructions_behind_one_that_cannot_run_do_not_count() {
    // nop; mov 0x60000000, %eax; nop; hlt
    let (outcome, profile) = profile(&setup(b"\x90\xa1\0\0\0\x60\x90\xf4"), Unnamed);
    assert!(matches!(outcome.end, End::OutsideRam { .. }));
    assert_eq!(profile.tree.instructions(), 1);
}

#[test]
fn endless_recursion_takes_bounded_memory() {
    // 1: nop; call 1b
    let (outcome, profile) = profile(&with_stack(b"\x90\xe8\xfa\xff\xff\xff"), Unnamed);
    assert_eq!(outcome.end, End::Budget { blocks: 10_000 });
    assert_eq!(profile.tree.nodes.len(), 512);
    assert!(profile.tree.blocks() > 1000);
}

/// A writer that others can look into.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer with room for nothing.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(kinds: &[Kind]) -> TraceOptions {
    let (format, limit) = (LineFormat::Text, 1000);
    TraceOptions { kinds: kinds.to_vec(), ranges: Vec::new(), format, limit }
}

fn write_trace(
    setup: &Setup,
    options: TraceOptions,
    out: impl Write + 'static,
) -> io::Result<Written> {
    let interest = options.interest();
    let tracer = Tracer::new(options, setup, Box::new(Named), out, |_| {});
    let (outcome, tracer) = UnicornEngine::new().observe_once(setup, &interest, tracer).unwrap();
    tracer.finish(&outcome)
}

fn trace(setup: &Setup, options: TraceOptions) -> (Written, Vec<String>) {
    let paper = Paper::default();
    let written = write_trace(setup, options, paper.clone()).unwrap();
    let text = String::from_utf8(paper.0.borrow().clone()).unwrap();
    (
        written,
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect(),
    )
}

#[test]
fn calls_and_returns_are_told_with_their_functions() {
    let (written, lines) = trace(&with_stack(CALLS), options(&[Kind::Calls]));
    assert_eq!(
        lines[..4],
        [
            "0 call 0x200000 start to=0x200000 function=start by=entry depth=0",
            "1 call 0x200005 start+0x5 to=0x200012 function=f depth=1",
            "5 return 0x20001a f+0x8 to=0x20000a depth=2",
            "6 call 0x20000a start+0xa to=0x200012 function=f depth=1",
        ]
    );
    assert_eq!(lines.last().unwrap(), "11 end 0x200011 start+0x11 halted");
    assert_eq!((written.lines, written.left_out), (5, 0));
}

#[test]
fn only_stores_and_blocks_in_a_range_are_told() {
    let setup = with_stack(CALLS);
    let mut wanted = options(&[Kind::Writes, Kind::Blocks]);
    wanted.ranges = vec![Range::new(0x20_fffc, 0x21_0000), Range::new(LOAD, LOAD + 1)];
    let (_, lines) = trace(&setup, wanted);
    assert_eq!(
        lines,
        [
            "1 block 0x200000 start size=10 instructions=2",
            "1 write 0x200005 start+0x5 address=0x20fffc value=0x20000a size=4",
            "6 write 0x20000a start+0xa address=0x20fffc value=0x20000f size=4",
            "11 end 0x200011 start+0x11 halted",
        ]
    );
}

#[test]
fn a_limit_cuts_and_says_so() {
    let setup = with_stack(CALLS);
    let (all, _) = trace(&setup, options(&[Kind::Blocks]));
    assert_eq!(all, Written { lines: 11, left_out: 0 });
    let (cut, lines) = trace(&setup, TraceOptions { limit: 2, ..options(&[Kind::Blocks]) });
    assert_eq!(cut, Written { lines: 2, left_out: 9 });
    assert_eq!(lines[2], "11 cut after 2 lines; 9 more are left out");
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_full_disk_is_an_error() {
    let error = write_trace(&with_stack(CALLS), options(&Kind::ALL), Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn lines_of_json_are_objects() {
    let wanted = TraceOptions { format: LineFormat::Json, ..options(&Kind::ALL) };
    let (_, lines) = trace(&with_stack(CALLS), wanted);
    assert!(lines.len() > 10);
    for line in &lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string() && value["block"].is_u64(), "{line}");
    }
}
