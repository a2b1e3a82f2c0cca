// SPDX-License-Identifier: GPL-2.0-only
//! Where KASLR's random numbers come from (`kaslr_get_random_long()`, arch/x86/lib/kaslr.c; `get_boot_seed()`,
//! arch/x86/boot/compressed/kaslr.c).

use super::super::inputs::Cpu;
use crate::image::WordSize;

/// So often the stub asks RDRAND for one number before it goes without (`RDRAND_RETRY_LOOPS`,
/// arch/x86/include/asm/archrandom.h).
const TRIES: usize = 10;

/// The source of numbers of one run: counts the answers of the CPU and of the timer.
pub struct Entropy<'a> {
    word: WordSize,
    cpu: Cpu<'a>,
    rdrand: usize,
    tsc: usize,
    timer: usize,
    /// Whether the last number is the timer's.
    timed: bool,
}

impl<'a> Entropy<'a> {
    /// The source at the beginning of a run.
    pub fn new(word: WordSize, cpu: Cpu<'a>) -> Entropy<'a> {
        Entropy { word, cpu, rdrand: 0, tsc: 0, timer: 0, timed: false }
    }

    /// The next number; `seed` is the hash of what boot_params hold now.
    pub fn draw(&mut self, seed: u64) -> u64 {
        let mut raw = seed;
        let mut asked = false;
        if let Some(number) = self.rdrand() {
            raw ^= number;
            asked = true;
        }
        if let Some(values) = self.cpu.tsc {
            raw ^= next(values, &mut self.tsc);
            asked = true;
        }
        self.timed = !asked;
        if self.timed {
            raw ^= u64::from(next(self.cpu.timer, &mut self.timer));
        }
        match self.word {
            WordSize::Bits64 => {
                let product = u128::from(raw) * 0x5d60_08cb_f384_8dd3;
                (product as u64).wrapping_add((product >> 64) as u64)
            }
            WordSize::Bits32 => {
                let product = (raw & 0xffff_ffff) * 0x3f39_e593;
                (product as u32).wrapping_add((product >> 32) as u32).into()
            }
        }
    }

    /// `rdrand_long()`.
    fn rdrand(&mut self) -> Option<u64> {
        let values @ [_, ..] = self.cpu.rdrand? else { return None };
        let each = usize::from(self.cpu.rdrand_failures) + 1;
        for _ in 0..TRIES {
            let turn = self.rdrand;
            self.rdrand += 1;
            if turn % each == each - 1 {
                return Some(values[turn / each % values.len()]);
            }
        }
        None
    }

    /// The names of the sources that a verbose stub says it used for the last number, each with a space before it.
    pub fn sources(&self) -> String {
        [
            (self.cpu.rdrand.is_some(), " RDRAND"),
            (self.cpu.tsc.is_some(), " RDTSC"),
            (self.timed, " i8254"),
        ]
        .iter()
        .filter_map(|(used, name)| used.then_some(*name))
        .collect()
    }
}

fn next<T: Copy + Default>(values: &[T], used: &mut usize) -> T {
    let value = match values {
        [] => T::default(),
        values => values[*used % values.len()],
    };
    *used += 1;
    value
}

/// `rotate_xor()`: goes on from `hash` over whole machine words; a rest is left out.
pub fn rotate_hash(word: WordSize, hash: u64, area: &[u8]) -> u64 {
    match word {
        WordSize::Bits64 => area.chunks_exact(8).fold(hash, |hash, bytes| {
            hash.rotate_right(7) ^ u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
        }),
        WordSize::Bits32 => area
            .chunks_exact(4)
            .fold(hash as u32, |hash, bytes| {
                hash.rotate_right(7) ^ u32::from_le_bytes(bytes.try_into().expect("four bytes"))
            })
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_leaves_a_partial_word_out() {
        let word = 0x0123_4567_89ab_cdefu64.to_le_bytes();
        assert_eq!(rotate_hash(WordSize::Bits64, 1 << 7, &word), 1 ^ 0x0123_4567_89ab_cdef);
        assert_eq!(rotate_hash(WordSize::Bits64, 5, &word[..7]), 5);
        assert_eq!(rotate_hash(WordSize::Bits32, 1 << 7, &word[..6]), 1 ^ 0x89ab_cdef);
    }

    fn mixed(raw: u64) -> u64 {
        let product = u128::from(raw) * 0x5d60_08cb_f384_8dd3;
        (product as u64).wrapping_add((product >> 64) as u64)
    }

    #[test]
    fn the_timer_is_asked_only_when_nothing_else_answers() {
        let timer = &[3, 4][..];
        let draws = |cpu: Cpu| {
            let mut entropy = Entropy::new(WordSize::Bits64, cpu);
            (0..3).map(|_| entropy.draw(0)).collect::<Vec<_>>()
        };
        let only = Cpu { timer, ..Cpu::default() };
        assert_eq!(draws(only), [3, 4, 3].map(mixed));
        assert_eq!(draws(Cpu { rdrand: Some(&[7, 8]), ..only }), [7, 8, 7].map(mixed));
        assert_eq!(draws(Cpu { rdrand: Some(&[]), ..only }), [3, 4, 3].map(mixed), "failed");
        assert_eq!(draws(Cpu { tsc: Some(&[]), ..only }), [0; 3]);
        let both = Cpu { rdrand: Some(&[1]), tsc: Some(&[2, 6]), ..only };
        assert_eq!(draws(both), [3, 7, 3].map(mixed));
        assert_eq!(draws(Cpu::default()), [0; 3]);
        let common = Cpu { rdrand: Some(&[0b0011]), tsc: Some(&[0b0110]), ..only };
        let mut entropy = Entropy::new(WordSize::Bits64, common);
        assert_eq!(entropy.draw(0b1111), mixed(0b1010));
    }

    #[test]
    fn rdrand_is_asked_ten_times() {
        let draws = |failures| {
            let timer = &[100, 101][..];
            let rdrand = Some(&[1, 2, 3][..]);
            let cpu = Cpu { rdrand, rdrand_failures: failures, timer, ..Cpu::default() };
            let mut entropy = Entropy::new(WordSize::Bits64, cpu);
            [0; 4].map(|_| (entropy.draw(0), entropy.sources().ends_with("i8254")))
        };
        let by = |values: [u64; 4]| values.map(|value| (mixed(value), value >= 100));
        assert_eq!(draws(0), by([1, 2, 3, 1]));
        assert_eq!(draws(9), by([1, 2, 3, 1]));
        // The eleventh try is the first one for the second number.
        assert_eq!(draws(10), by([100, 1, 101, 2]));
        assert_eq!(draws(19), by([100, 1, 101, 2]));
    }

    #[test]
    fn the_product_is_folded_at_the_word() {
        let cpu = Cpu { rdrand: Some(&[1 << 63, 1 << 32]), ..Cpu::default() };
        // 2^63 times the constant: its low bit ends up on top, the rest one place lower.
        let mut wide = Entropy::new(WordSize::Bits64, cpu);
        assert_eq!(wide.draw(0), (1 << 63) + 0x2eb0_0465_f9c2_46e9);
        let mut narrow = Entropy::new(WordSize::Bits32, cpu);
        assert_eq!(narrow.draw(1), 0x3f39_e593);
        // 2^31 times the constant, whose upper half is added.
        assert_eq!(narrow.draw(0x8000_0000), 0x8000_0000 + 0x1f9c_f2c9);
    }

    #[test]
    fn a_verbose_stub_names_what_it_tries() {
        let names = |cpu| {
            let mut entropy = Entropy::new(WordSize::Bits64, cpu);
            entropy.draw(0);
            entropy.sources()
        };
        assert_eq!(names(Cpu::default()), " i8254");
        assert_eq!(names(Cpu { rdrand: Some(&[]), ..Cpu::default() }), " RDRAND i8254");
        assert_eq!(names(Cpu { tsc: Some(&[]), ..Cpu::default() }), " RDTSC");
        let both = Cpu { rdrand: Some(&[1]), tsc: Some(&[]), ..Cpu::default() };
        assert_eq!(names(both), " RDRAND RDTSC");
    }
}
