// SPDX-License-Identifier: GPL-2.0-only
//! What gdb asks for, done with a session.

use gdbstub::common::Signal;
use gdbstub::stub::SingleThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::base::singlethread::{
    SingleThreadBase, SingleThreadRangeStepping, SingleThreadRangeSteppingOps, SingleThreadResume,
    SingleThreadResumeOps, SingleThreadSingleStep, SingleThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind as GdbWatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps, output};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::{Target, TargetError, TargetResult};

use super::Debuggee;
use super::arch::{Bytes, Layout, Number, X86};
use super::monitor;
use crate::machine::{End, MachineError, Pause, Session, WatchKind};

/// So many instructions run between two looks at the wire, and so many steps.
const SLICE: u64 = 4 << 20;
const STEPS: u64 = 1 << 12;

/// What gdb is told when the machine stops.
pub type StopReason = SingleThreadStopReason<u64>;

/// How the machine is to go on.
#[derive(Clone, Debug)]
enum Resume {
    Forward,
    Step,
    /// Step by step as long as the instruction pointer is in there.
    Within(std::ops::Range<u64>),
    Back,
    StepBack,
}

/// A session and what gdb wants of it.
pub struct Debugged<'a> {
    /// What is debugged.
    pub debuggee: &'a Debuggee<'a>,
    /// The machine.
    pub session: Session<'a>,
    layout: Layout,
    xml: String,
    resume: Resume,
}

impl<'a> Debugged<'a> {
    /// The machine, about to be entered.
    pub fn new(debuggee: &'a Debuggee<'a>) -> Result<Debugged<'a>, MachineError> {
        let session = Session::open(debuggee.engine, debuggee.setup)?;
        let layout = Layout::new(debuggee.setup.word);
        let xml = layout.xml();
        Ok(Debugged { debuggee, session, layout, xml, resume: Resume::Forward })
    }

    /// Goes on for a while as gdb wants. When that comes to an end, what gdb is told, and a line for whoever sits there.
    pub fn advance(
        &mut self,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(StopReason, Option<String>)>, MachineError> {
        let over = self.session.end().is_some();
        let forward = matches!(self.resume, Resume::Forward | Resume::Step | Resume::Within(_));
        if over && forward {
            let end = StopReason::ReplayLog { tid: None, pos: ReplayLogPosition::End };
            return Ok(Some((end, None)));
        }
        let pause = match self.resume.clone() {
            Resume::Forward => self.session.go_on(SLICE)?,
            Resume::Step => match self.session.step()? {
                Pause::Limit => return Ok(Some((StopReason::DoneStep, None))),
                pause => pause,
            },
            Resume::Within(range) => match self.steps_within(range)? {
                Some(Pause::Limit) => return Ok(Some((StopReason::DoneStep, None))),
                Some(pause) => pause,
                None => return Ok(None),
            },
            Resume::Back => self.session.go_back(interrupted)?,
            Resume::StepBack => match self.session.step_back()? {
                Pause::Limit => return Ok(Some((StopReason::DoneStep, None))),
                pause => pause,
            },
        };
        Ok(match pause {
            // Whoever interrupts sends something, which tells what to do.
            Pause::Limit | Pause::Interrupted => None,
            Pause::Break => Some((StopReason::SwBreak(()), None)),
            Pause::Watch { address, kind } => {
                let kind = gdb_kind(kind);
                Some((StopReason::Watch { tid: (), kind, addr: address }, None))
            }
            Pause::Start => {
                let begin = StopReason::ReplayLog { tid: None, pos: ReplayLogPosition::Begin };
                Some((begin, None))
            }
            Pause::End(end) => {
                let told = format!("relocheck: the run is over: {}", monitor::end_text(&end));
                Some((StopReason::SignalWithThread { tid: (), signal: signal(&end) }, Some(told)))
            }
        })
    }

    /// Steps for a while; why that came to an end, with [`Pause::Limit`] for the range.
    fn steps_within(&mut self, range: std::ops::Range<u64>) -> Result<Option<Pause>, MachineError> {
        for _ in 0..STEPS {
            match self.session.step()? {
                Pause::Limit => {}
                pause => return Ok(Some(pause)),
            }
            let rip = self.session.registers()?.rip;
            if self.session.has_breakpoint(rip) {
                return Ok(Some(Pause::Break));
            }
            if !range.contains(&rip) {
                return Ok(Some(Pause::Limit));
            }
        }
        Ok(None)
    }
}

/// The signal that stands for an end of the run.
fn signal(end: &End) -> Signal {
    match end {
        End::HandOff => Signal::SIGTRAP,
        End::Halted => Signal::SIGSTOP,
        End::Fault { vector: 6, .. } => Signal::SIGILL,
        End::Fault { .. } => Signal::SIGSEGV,
        End::OutsideRam { .. } => Signal::SIGBUS,
        End::Budget { .. } => Signal::SIGXCPU,
        End::Unsupported(_) => Signal::SIGABRT,
    }
}

fn gdb_kind(kind: WatchKind) -> GdbWatchKind {
    match kind {
        WatchKind::Write => GdbWatchKind::Write,
        WatchKind::Read => GdbWatchKind::Read,
        WatchKind::Access => GdbWatchKind::ReadWrite,
    }
}

fn our_kind(kind: GdbWatchKind) -> WatchKind {
    match kind {
        GdbWatchKind::Write => WatchKind::Write,
        GdbWatchKind::Read => WatchKind::Read,
        GdbWatchKind::ReadWrite => WatchKind::Access,
    }
}

impl Target for Debugged<'_> {
    type Arch = X86;
    type Error = MachineError;

    fn base_ops(&mut self) -> BaseOps<'_, X86, MachineError> {
        BaseOps::SingleThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }

    // Breakpoints are not in memory.
    fn guard_rail_implicit_sw_breakpoints(&self) -> bool {
        true
    }
}

impl SingleThreadBase for Debugged<'_> {
    fn read_registers(&mut self, registers: &mut Bytes) -> TargetResult<(), Self> {
        *registers = self.layout.all(&self.session.registers().map_err(TargetError::Fatal)?);
        Ok(())
    }

    fn write_registers(&mut self, registers: &Bytes) -> TargetResult<(), Self> {
        let now = self.layout.all(&self.session.registers().map_err(TargetError::Fatal)?);
        let mut wanted = Vec::new();
        for (number, part) in self.layout.parts() {
            let there = &now.bytes[part.clone()];
            let new = registers.bytes.get(part).ok_or(TargetError::NonFatal)?;
            if there != new && there.iter().all(Option::is_some) {
                let bytes: Vec<u8> = new.iter().map(|byte| byte.unwrap_or(0)).collect();
                wanted.push(self.layout.settable(number, &bytes).ok_or(TargetError::NonFatal)?);
            }
        }
        for (register, value) in wanted {
            self.session.set_register(register, value).map_err(|_| TargetError::NonFatal)?;
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, (), Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8]) -> TargetResult<usize, Self> {
        // gdb takes less than it asked for.
        for len in [data.len(), (4096 - start % 4096) as usize] {
            let data = &mut data[..];
            if len <= data.len() && self.session.read(start, &mut data[..len]).is_ok() {
                return Ok(len);
            }
        }
        Err(TargetError::NonFatal)
    }

    fn write_addrs(&mut self, start: u64, data: &[u8]) -> TargetResult<(), Self> {
        self.session.write(start, data).map_err(|_| TargetError::NonFatal)
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<()> for Debugged<'_> {
    fn read_register(
        &mut self,
        (): (),
        number: Number,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let registers = self.session.registers().map_err(TargetError::Fatal)?;
        let bytes = self.layout.one(number, &registers).ok_or(TargetError::NonFatal)?;
        buffer.get_mut(..bytes.len()).ok_or(TargetError::NonFatal)?.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_register(&mut self, (): (), number: Number, value: &[u8]) -> TargetResult<(), Self> {
        let (register, value) = self.layout.settable(number, value).ok_or(TargetError::NonFatal)?;
        self.session.set_register(register, value).map_err(|_| TargetError::NonFatal)
    }
}

impl SingleThreadResume for Debugged<'_> {
    fn resume(&mut self, _: Option<Signal>) -> Result<(), MachineError> {
        self.resume = Resume::Forward;
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<SingleThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, (), Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, (), Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Debugged<'_> {
    fn step(&mut self, _: Option<Signal>) -> Result<(), MachineError> {
        self.resume = Resume::Step;
        Ok(())
    }
}

impl SingleThreadRangeStepping for Debugged<'_> {
    fn resume_range_step(&mut self, start: u64, end: u64) -> Result<(), MachineError> {
        self.resume = Resume::Within(start..end);
        Ok(())
    }
}

impl ReverseCont<()> for Debugged<'_> {
    fn reverse_cont(&mut self) -> Result<(), MachineError> {
        self.resume = Resume::Back;
        Ok(())
    }
}

impl ReverseStep<()> for Debugged<'_> {
    fn reverse_step(&mut self, (): ()) -> Result<(), MachineError> {
        self.resume = Resume::StepBack;
        Ok(())
    }
}

impl Breakpoints for Debugged<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugged<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.session.set_breakpoint(address, true).map_err(TargetError::Fatal)?;
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.session.set_breakpoint(address, false).map_err(TargetError::Fatal)
    }
}

impl HwBreakpoint for Debugged<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.add_sw_breakpoint(address, kind)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.remove_sw_breakpoint(address, kind)
    }
}

impl HwWatchpoint for Debugged<'_> {
    fn add_hw_watchpoint(
        &mut self,
        address: u64,
        len: u64,
        kind: GdbWatchKind,
    ) -> TargetResult<bool, Self> {
        let kind = our_kind(kind);
        self.session.set_watchpoint(address, len, kind, true).map_err(TargetError::Fatal)?;
        Ok(true)
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        len: u64,
        kind: GdbWatchKind,
    ) -> TargetResult<bool, Self> {
        let kind = our_kind(kind);
        self.session.set_watchpoint(address, len, kind, false).map_err(TargetError::Fatal)
    }
}

impl TargetDescriptionXmlOverride for Debugged<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let rest = self.xml.as_bytes().get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(length).min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl MonitorCmd for Debugged<'_> {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), MachineError> {
        let text = monitor::run(self, &String::from_utf8_lossy(command))?;
        output!(out, "{}", text);
        Ok(())
    }
}
