// SPDX-License-Identifier: GPL-2.0-only
//! Bytes from and to gdb. They are read in a thread of their own, so that a running machine can look whether there are any,
//! and notices when gdb is gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use gdbstub::conn::Connection;

/// So many pieces of at most so many bytes are read ahead.
const PIECES: usize = 16;
const PIECE: usize = 4096;

/// What a look at the wire showed.
pub enum Polled {
    /// A byte, taken.
    Byte(u8),
    /// Nothing yet.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// Bytes that gdb sent.
#[derive(Clone)]
pub struct Incoming(Rc<RefCell<Queue>>);

struct Queue {
    pieces: Receiver<Vec<u8>>,
    bytes: VecDeque<u8>,
    closed: bool,
    part: Part,
}

/// Where in a packet (`$body#00`) the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Body,
    Sum(u8),
}

impl Queue {
    /// Takes what arrived. A gdb that waits for an answer for more than two seconds asks for the last packet again, with a
    /// minus sign between packets; it is content when the answer comes, and the library is not when it is asked.
    fn arrive(&mut self, piece: &[u8]) {
        for byte in piece {
            if (self.part, *byte) == (Part::Outside, b'-') {
                continue;
            }
            self.part = match (self.part, *byte) {
                (Part::Outside, b'$') | (Part::Body, b'$') => Part::Body,
                (Part::Body, b'#') => Part::Sum(2),
                (Part::Sum(2), _) => Part::Sum(1),
                (Part::Sum(_), _) => Part::Outside,
                (part, _) => part,
            };
            self.bytes.push_back(*byte);
        }
    }
}

impl Incoming {
    /// The next byte; `None` when the other side is gone.
    pub fn wait(&self) -> Option<u8> {
        let mut queue = self.0.borrow_mut();
        while queue.bytes.is_empty() {
            let piece = queue.pieces.recv().ok()?;
            queue.arrive(&piece);
        }
        queue.bytes.pop_front()
    }

    /// The next byte if it is there.
    pub fn poll(&self) -> Polled {
        if !self.is_waiting() {
            return Polled::Nothing;
        }
        self.0.borrow_mut().bytes.pop_front().map_or(Polled::Closed, Polled::Byte)
    }

    /// Whether there is a byte, or the other side is gone.
    pub fn is_waiting(&self) -> bool {
        let mut queue = self.0.borrow_mut();
        if queue.bytes.is_empty() && !queue.closed {
            match queue.pieces.try_recv() {
                Ok(piece) => queue.arrive(&piece),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => queue.closed = true,
            }
        }
        queue.closed || !queue.bytes.is_empty()
    }
}

/// Both directions.
pub struct Wire {
    incoming: Incoming,
    to: Box<dyn Write>,
    packet: Vec<u8>,
}

impl Wire {
    /// Reads from one side and writes to the other.
    pub fn new(mut from: impl Read + Send + 'static, to: impl Write + 'static) -> Wire {
        let (sender, pieces) = sync_channel(PIECES);
        // It ends with the process if gdb never sends anything again.
        std::thread::spawn(move || {
            let mut piece = vec![0; PIECE];
            while let Ok(len @ 1..) = from.read(&mut piece) {
                if sender.send(piece[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        let queue = Queue { pieces, bytes: VecDeque::new(), closed: false, part: Part::Outside };
        let incoming = Incoming(Rc::new(RefCell::new(queue)));
        Wire { incoming, to: Box::new(to), packet: Vec::new() }
    }

    /// The bytes that come in.
    pub fn incoming(&self) -> Incoming {
        self.incoming.clone()
    }

    /// Makes gdb print a line, while it waits for the machine to stop.
    pub fn tell(&mut self, line: &str) {
        let mut body = String::from("O");
        for byte in line.bytes().chain([b'\n']) {
            body += &format!("{byte:02x}");
        }
        self.send(&body);
    }

    /// Sends a packet. A gdb that is gone is noticed by the next who writes.
    pub fn send(&mut self, body: &str) {
        let sum = body.bytes().fold(0u8, u8::wrapping_add);
        self.packet.extend(format!("${body}#{sum:02x}").bytes());
        let _ = self.flush();
    }
}

impl Connection for Wire {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.packet.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let packet = std::mem::take(&mut self.packet);
        self.to.write_all(&packet)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_packets_is_left_out() {
        let sent: &[u8] = b"+-$X1-2#-a-+$m0,1#--\x03-";
        let wire = Wire::new(sent, io::sink());
        let incoming = wire.incoming();
        let got: Vec<u8> = std::iter::from_fn(|| incoming.wait()).collect();
        assert_eq!(got, b"+$X1-2#-a+$m0,1#--\x03");
        assert!(matches!(incoming.poll(), Polled::Closed));
    }
}
