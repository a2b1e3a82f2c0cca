// SPDX-License-Identifier: GPL-2.0-only

use super::*;
use crate::oracle::Rule;
use crate::record::samples;

#[test]
fn the_news_are_errors_and_the_rest_warnings() {
    let text = annotations(&samples::everything());
    let kinds: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let (error, warning) = ("::error", "::warning");
    let warnings = [warning; 6];
    assert_eq!(kinds[..3], [error; 3]);
    assert_eq!(kinds[3..9], warnings);
    assert_eq!(kinds[9..], ["::notice"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("::error title=corpus/cases/case-1.toml on debian-cloud::fault: ")
    );
    assert!(
        lines[1].starts_with("::error title=debian-cloud (64-bit%2C kdump)::fault: stub+0x7bd197")
    );
    assert!(lines[1].ends_with(
        "%0Ain 2 of 5 cases, first in case 1%0Arelocheck replay reports/cases/3d616aa853fe-fault.toml"
    ));
    assert_eq!(lines[2], "::error title=gone::image: No such file or directory");
    assert!(text.contains("::known issue chatty: ports: port 0x3f8"), "{text}");
}

#[test]
fn no_name_can_give_a_command() {
    let mut report = samples::everything();
    report.images[3].name = "a::stop%,\n::add-mask::x".into();
    report.images[3].error = Some("50%\r\n::set-env name=A::b".into());
    let text = annotations(&report);
    let third = text.lines().nth(2);
    let expected =
        "::error title=a%3A%3Astop%25%2C %3A%3Aadd-mask%3A%3Ax::image: 50%25  ::set-env name=A::b";
    assert_eq!(third, Some(expected));
    assert!(text.lines().all(|line| {
        ["::error ", "::warning ", "::notice "].iter().any(|command| line.starts_with(command))
    }));
}

#[test]
fn no_more_than_ten_errors_are_shown() {
    let mut report = samples::plain();
    let name = |number: usize| samples::found(Rule::Ports, &format!("port {number}"), None);
    for count in [9, 10, 11, 50] {
        let found = (0..count).map(name).collect();
        report.images =
            vec![samples::image(0, "one", vec![], vec![samples::case(0, found, vec![])])];
        let text = annotations(&report);
        assert_eq!(text.matches("::error ").count(), count.min(10));
        let more = format!("::{} more of this kind", count - 9);
        assert_eq!(text.contains(&more), count > 10, "{text}");
    }
}

#[test]
fn the_summary_has_every_image_and_what_was_found() {
    let text = summary(&samples::everything());
    assert!(
        text.starts_with("### relocheck&#58; everything") || text.starts_with("### relocheck: ")
    );
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), 1 + 5);
    let expected = "| debian-cloud (64-bit, kdump) | 6.1.0-50-cloud-amd64 64-bit lz4 | 5 | 3 | 1 | 1 | :x: diverges |";
    assert_eq!(rows[1], expected);
    assert_eq!(text.matches("<details open>").count(), 3);
    assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
    assert!(text.contains("<code>relocheck replay reports/cases/000000000001-case.toml</code>"));
}

#[test]
fn names_are_no_markup() {
    let mut report = samples::plain();
    report.images[0].name = "a|b<script>&`*_\n[x](y) @all".into();
    let text = summary(&report);
    let row = text.lines().find(|line| line.starts_with("| a")).unwrap();
    assert_eq!(row.matches('|').count(), 8);
    assert!(!row.contains(['<', '`', '*', '[', '@']), "{row}");
}

#[test]
fn a_summary_ends_where_github_would_refuse_it() {
    let mut report = samples::everything();
    let image = samples::everything().images.remove(0);
    report.images = vec![image; 3000];
    let text = summary(&report);
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(text.contains("There was no room for what was found in "));
}
