// SPDX-License-Identifier: GPL-2.0-only
//! Colours, light and dark.

/// The style sheet.
pub const STYLE: &str = "\
text{font:12px sans-serif;fill:#24292f}
.title{font-size:17px;font-weight:bold}.head{font-weight:bold}.dim{fill:#57606a}.tick{font-size:11px;fill:#57606a}
.below,.name{font-size:12px}.right{text-anchor:end}.middle,.word,.never{text-anchor:middle}.word{font-size:9px}.never{font-size:11px;fill:#57606a}
.page{fill:#ffffff}.frame{fill:#f6f8fa}.grid{stroke:#d8dee4;stroke-width:.6}.hatch{stroke:#c4ccd4;stroke-width:1}
.lead{stroke:#8c959f;fill:none;stroke-width:.8}.break{stroke:#57606a;fill:none}
.p0{fill:#8496b0}.p1{fill:#3f8ae0}.p2{fill:#e0a526}.p3{fill:#2da44e}.p4{fill:#8f54d8}.p5{fill:#6e5038}
.old{fill-opacity:.3}
.may{fill:#bfe8c9;stroke:#2da44e;stroke-width:.5}
.wrong{stroke:#cf222e;stroke-width:1.6;fill:none}.tip{fill:#cf222e}.bad{fill:#cf222e;font-weight:bold}
.m-ram{fill:#dbe7f3}.m-rsv{fill:#d0d7de}.m-acpi{fill:#f4e3b2}.m-nvs{fill:#efd1a0}.m-bad{fill:#f3c0bd}.m-pmem{fill:#d9c9ef}.m-unl{fill:#eef1f4}
@media (prefers-color-scheme: dark){
text{fill:#e6edf3}.dim,.tick,.never{fill:#9aa4af}
.page{fill:#0d1117}.frame{fill:#161b22}.grid{stroke:#2b323b}.hatch{stroke:#363d47}
.lead{stroke:#6e7681}.break{stroke:#9aa4af}
.p0{fill:#7d8fa9}.p1{fill:#3b86dd}.p2{fill:#c9911a}.p3{fill:#2f9e4b}.p4{fill:#a371f7}.p5{fill:#b08968}
.may{fill:#16401f;stroke:#2f9e4b}
.wrong{stroke:#ff7b72}.tip{fill:#ff7b72}.bad{fill:#ff7b72}
.m-ram{fill:#22364b}.m-rsv{fill:#30363d}.m-acpi{fill:#4d4017}.m-nvs{fill:#523a16}.m-bad{fill:#5a2320}.m-pmem{fill:#3b2b57}.m-unl{fill:#21262d}}
";
