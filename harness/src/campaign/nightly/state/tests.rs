// SPDX-License-Identifier: GPL-2.0-only
use super::*;
use crate::campaign::nightly::units::UnitImage;
use crate::record::{Selection, samples};

fn state(units: &[(&str, usize)], regressions: &[&str]) -> State {
    let unit = |(number, (name, cases)): (usize, &(&str, usize))| {
        let image = UnitImage { path: "k".into(), sha256: String::new() };
        let unit = Unit {
            number,
            name: name.to_string(),
            image: Ok(image),
            selection: Selection::default(),
            cases: *cases,
        };
        (name.to_string(), unit)
    };
    let units = units.iter().enumerate().map(unit).collect();
    let regressions = regressions.iter().map(|key| key.to_string()).collect();
    State::new(units, regressions, Duration::from_secs(10))
}

fn opened(unit: &str) -> Entry {
    Entry::Opened { unit: unit.into(), facts: Box::new(samples::facts(Vec::new())) }
}

fn case(unit: &str, number: usize, broken: &[Rule]) -> Entry {
    let found = broken.iter().map(|rule| samples::found(*rule, "", None)).collect();
    let case = samples::case(number, found, Vec::new());
    let record = Box::new(CaseRecord { duration_ms: 4_000, ..case });
    Entry::Case { unit: unit.into(), record, kernel: None }
}

fn finish(state: &mut State, job: Job, entry: Entry) {
    state.apply(entry);
    state.done(job);
}

#[test]
fn regressions_come_first_and_each_worker_keeps_to_its_image() {
    let known = KnownIssues::default();
    let mut state = state(&[("a", 2), ("b", 1)], &["r"]);
    assert_eq!(state.next(None, &known), Next::Do(Job::Regression(0)));
    assert_eq!(state.next(None, &known), Next::Do(Job::Open(0)));
    assert_eq!(state.next(None, &known), Next::Do(Job::Open(1)));
    assert_eq!(state.next(None, &known), Next::Wait);
    finish(&mut state, Job::Open(1), opened("b"));
    assert_eq!(state.next(Some(1), &known), Next::Do(Job::Case { unit: 1, number: 0 }));
    finish(&mut state, Job::Open(0), opened("a"));
    assert_eq!(state.next(Some(0), &known), Next::Do(Job::Case { unit: 0, number: 0 }));
    finish(&mut state, Job::Case { unit: 1, number: 0 }, case("b", 0, &[]));
    // Nothing is left of its own image: it helps.
    assert_eq!(state.next(Some(1), &known), Next::Do(Job::Case { unit: 0, number: 1 }));
    assert_eq!(state.next(None, &known), Next::Wait);
}

#[test]
fn the_first_news_is_made_simple_when_all_cases_are_done() {
    let file = "schema = 1\n[[issue]]\nid = \"i\"\nowner = \"o\"\nexpires = 2027-03-01\n\
        explanation = \"e\"\nrule = \"fault\"\n";
    let known = KnownIssues::parse(file, jiff::civil::Date::constant(2027, 1, 1)).unwrap();
    let mut state = state(&[("a", 3)], &[]);
    state.apply(opened("a"));
    state.apply(case("a", 0, &[Rule::Fault]));
    state.apply(case("a", 2, &[Rule::Fault, Rule::Halt]));
    assert_eq!(state.next(Some(0), &known), Next::Do(Job::Case { unit: 0, number: 1 }));
    assert_eq!(state.next(Some(0), &known), Next::Wait);
    finish(&mut state, Job::Case { unit: 0, number: 1 }, case("a", 1, &[]));
    let shrink = Job::Shrink { unit: 0, number: 2, keep: Rule::Halt };
    assert_eq!(state.next(Some(0), &known), Next::Do(shrink));
    assert_eq!(state.next(Some(0), &known), Next::Wait);
    finish(&mut state, shrink, Entry::Shrunk { unit: "a".into(), shrunk: None });
    assert_eq!(state.next(Some(0), &known), Next::Finished);
    let done = state.units[0].if_done(&known).unwrap();
    assert_eq!((done.cases, done.diverging, done.known), (3, 2, 1));
}

#[test]
fn a_unit_whose_time_is_up_loses_the_rest() {
    let known = KnownIssues::default();
    let mut state = state(&[("a", 5)], &[]);
    state.apply(opened("a"));
    state.apply(case("a", 0, &[]));
    state.apply(case("a", 1, &[Rule::Halt]));
    assert_eq!((state.late(), state.remaining(0)), (vec![], Duration::from_secs(2)));
    state.apply(case("a", 2, &[]));
    assert_eq!(state.late(), [0]);
    assert!(state.remaining(0) > Duration::ZERO);
    state.apply(Entry::TimeUp { unit: "a".into() });
    assert_eq!(state.next(Some(0), &known), Next::Finished);
    assert_eq!((state.late(), state.units[0].cases.len()), (vec![], 3));
}

#[test]
fn entries_of_other_plans_are_passed_over() {
    let known = KnownIssues::default();
    let mut state = state(&[("a", 1)], &[]);
    state.apply(opened("b"));
    state.apply(opened("a"));
    state.apply(case("a", 1, &[]));
    assert_eq!(state.next(None, &known), Next::Do(Job::Case { unit: 0, number: 0 }));
}
