// SPDX-License-Identifier: GPL-2.0-only
//! What a stub says on a serial port (`__putstr()`, arch/x86/boot/compressed/misc.c): what the reference says, to the letter, if
//! that can predict it. Else its words stand in the stub, and its lines end with a carriage return and a line feed.

use memchr::memmem;

use super::scene::Scene;
use super::{Finding, Judgement, Rule, serial};
use crate::machine::End;

/// Shorter ones stand anywhere by chance.
const LEAST_WORD: usize = 3;

/// Judges a stub that came to an end by itself, and had to say what was `predicted`.
pub fn judge(scene: &Scene, predicted: Option<&str>) -> Option<Finding> {
    if !matches!(scene.outcome.end, End::HandOff | End::Halted)
        || scene.subject.image.vintage().is_some()
    {
        return None;
    }
    let actual = &scene.outcome.serial;
    let said = predicted.filter(|_| serial::in_use(scene).is_some() || !actual.is_empty());
    let wrong = match said {
        Some(said) => differs(said, actual),
        None => strange(scene),
    };
    let (expected, actual) = wrong?;
    Some(Finding::new(Rule::Ports, "text on the serial port", expected, actual))
}

/// What a stub must have printed that came to its end, or stopped because it had to. One that has put the kernel elsewhere
/// had other things to say.
pub fn predicted<'a>(scene: &'a Scene, judgement: &Judgement) -> Option<&'a str> {
    let prediction = scene.prediction.as_ref().ok()?;
    let known = scene.hand_over.as_ref().ok()?;
    match judgement.landing {
        Some(landing) => {
            let right = (landing.output, landing.virt) == (prediction.output, prediction.virt);
            known.text.as_deref().filter(|_| right)
        }
        None if judgement.refused => known.refusal.as_deref(),
        None => None,
    }
}

/// The first line that is another than expected.
fn differs(said: &str, actual: &[u8]) -> Option<(String, String)> {
    let expected = said.replace('\n', "\r\n");
    if expected.as_bytes() == actual {
        return None;
    }
    let lines = |text| str::split_inclusive(text, '\n');
    let actual = String::from_utf8_lossy(actual);
    let same = lines(&expected).zip(lines(&actual)).take_while(|(a, b)| a == b).count();
    let line =
        |text| lines(text).nth(same).map_or("nothing more".into(), |line| format!("{line:?}"));
    Some((line(&expected), line(&actual)))
}

fn strange(scene: &Scene) -> Option<(String, String)> {
    let stub = scene.subject.image.protected_mode();
    let payload = &scene.subject.image.payload().range;
    let stands = |word: &[u8]| {
        memmem::find_iter(stub, word).any(|at| {
            let apart = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphabetic());
            let before = at.checked_sub(1).and_then(|before| stub.get(before));
            !payload.contains(&at) && apart(before) && apart(stub.get(at + word.len()))
        })
    };
    wrong(&scene.outcome.serial, stands).map(|(expected, actual)| (expected.into(), actual))
}

/// What is wrong with a text, of which each word must be one that `stands` somewhere.
fn wrong(text: &[u8], stands: impl Fn(&[u8]) -> bool) -> Option<(&'static str, String)> {
    let strange =
        |byte: &&u8| !byte.is_ascii_graphic() && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    if let Some(byte) = text.iter().find(strange) {
        return Some(("printable characters", format!("{byte:#04x}")));
    }
    let bare = (0..text.len()).find(|&at| text[at] == b'\n' && (at == 0 || text[at - 1] != b'\r'));
    if let Some(at) = bare {
        return Some(("a carriage return before each line feed", format!("none at byte {at}")));
    }
    words(text).find(|word| !stands(word)).map(|word| {
        ("words that stand in the stub", format!("{:?}", String::from_utf8_lossy(word)))
    })
}

/// The words of a text: letters without digits beside them, which hex numbers have.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .filter(|word| word.len() >= LEAST_WORD && word.iter().all(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::Case;
    use crate::image::WordSize;

    fn complaint(text: &str) -> Option<&'static str> {
        let known = ["Physical", "KASLR", "using", "RDRAND", "region"];
        let stands = |word: &[u8]| known.iter().any(|known| known.as_bytes() == word);
        wrong(text.as_bytes(), stands).map(|(expected, _)| expected)
    }

    #[test]
    fn the_first_line_that_differs_is_told() {
        assert_eq!(differs("a\nb\n", b"a\r\nb\r\n"), None);
        let told = |actual| differs("a\nb\n", actual).unwrap();
        assert_eq!(told(b"a\r\nc\r\n"), ("\"b\\r\\n\"".into(), "\"c\\r\\n\"".into()));
        assert_eq!(told(b"a\r\n").1, "nothing more");
        assert_eq!(told(b"a\r\nb\r\n\r\n").0, "nothing more");
    }

    #[test]
    fn known_words_between_numbers_are_right() {
        assert_eq!(complaint(""), None);
        assert_eq!(
            complaint("\r\n\r\nPhysical KASLR using RDRAND...\r\nregion: 0x000000deadbeef I\r\n"),
            None
        );
    }

    #[test]
    fn lost_and_strange_characters_are_found() {
        assert_eq!(complaint("hysical KASLR\r\n"), Some("words that stand in the stub"));
        assert_eq!(complaint("Physical\n"), Some("a carriage return before each line feed"));
        assert_eq!(complaint("Physical\0"), Some("printable characters"));
    }

    /// The end of a stub that prints this text.
    fn printed(text: &str, end: End) -> Vec<(String, String)> {
        let words = "nokaslr\0Physical KASLR using\0";
        let mut run = Run::of(image(WordSize::Bits64, "6.1.192", words), Case::default());
        run.outcome.serial = text.into();
        run.outcome.end = end;
        run.found(Rule::Ports)
    }

    #[test]
    fn each_word_stands_in_the_stub_by_itself() {
        let said = |text| printed(text, End::Halted).into_iter().map(|f| f.1).collect::<String>();
        assert_eq!(said("KASLR using Physical"), "");
        assert_eq!(said("ASLR"), "\"ASLR\"", "a part of a word");
        assert_eq!(said("Physica"), "\"Physica\"");
        assert_eq!(said("using RDRAND"), "\"RDRAND\"");
        // Two letters may be anything, and so may what has digits.
        assert_eq!(said("xy KASLR5 0xabc a_b"), "");
        assert_eq!(said("xyz"), "\"xyz\"");
        assert_eq!(said("KASLR\n"), "none at byte 5");
        assert_eq!(said("\n"), "none at byte 0");
        assert_eq!(said("KASLR\r\n\t\r\n"), "");
        assert_eq!(said("KASLR\x7f"), "0x7f");
    }

    #[test]
    fn a_stub_that_comes_to_its_end_says_what_the_reference_says() {
        let due = "\n\nKASLR disabled: 'nokaslr' on cmdline.\n\n".replace('\n', "\r\n");
        assert_eq!(printed(&due, End::HandOff), []);
        assert_eq!(printed("", End::HandOff), [], "nobody asked for the port");
        let (place, found) = printed("Physical\r\n", End::HandOff).remove(0);
        assert_eq!((&place[..], &found[..]), ("text on the serial port", "\"Physical\\r\\n\""));
    }

    #[test]
    fn a_stub_that_has_to_stop_says_what_led_to_it_and_no_more() {
        const MIB: u64 = 1 << 20;
        let told = |load: u64, text: &str| {
            let line = Some("nokaslr earlyprintk=ttyS0".into());
            let case = Case { load: load * MIB, command_line: line, ..Case::default() };
            let words = "nokaslr\0earlyprintk\0KASLR disabled: 'nokaslr' on cmdline.\0\
                Destination address too large\0 -- System halted\0";
            let mut run = Run::of(image(WordSize::Bits32, "6.1.192", words), case);
            run.outcome.end = End::Halted;
            run.outcome.serial = text.replace('\n', "\r\n").into();
            let text = |found: &(String, String)| found.0 == "text on the serial port";
            run.found(Rule::Ports).into_iter().find(text).map(|found| found.1)
        };
        let due = "\n\nKASLR disabled: 'nokaslr' on cmdline.\n\n\
            \n\nDestination address too large\n\n -- System halted";
        assert_eq!(told(900, due), None);
        let twice = format!("\n\nKASLR disabled: 'nokaslr' on cmdline.\n\n{due}");
        assert_eq!(
            told(900, &twice).as_deref(),
            Some("\"KASLR disabled: 'nokaslr' on cmdline.\\r\\n\"")
        );
        assert_eq!(
            told(900, &due[2..]).as_deref(),
            Some("\"KASLR disabled: 'nokaslr' on cmdline.\\r\\n\"")
        );
        // It may not stop here: that is another rule's matter.
        assert_eq!(told(16, due), None);
    }

    #[test]
    fn words_of_the_packed_kernel_do_not_count() {
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.end = End::Halted;
        let range = run.subject.image.payload().range.clone();
        let stub = run.subject.image.protected_mode();
        let word = stub[range].windows(4).find(|w| w.iter().all(u8::is_ascii_alphabetic));
        if let Some(word) = word.map(<[u8]>::to_vec) {
            run.outcome.serial = word;
            assert_eq!(run.found(Rule::Ports).len(), 1);
        }
        // The last word of the stub has nothing behind it.
        run.outcome.serial = b"nokaslr".to_vec();
        assert_eq!(run.found(Rule::Ports), []);
    }

    #[test]
    fn only_what_came_to_an_end_by_itself_is_judged() {
        assert_eq!(printed("xyz", End::Halted).len(), 1);
        assert_eq!(printed("xyz", End::Budget { blocks: 1 }), []);
    }
}
