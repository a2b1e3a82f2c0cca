// SPDX-License-Identifier: GPL-2.0-only
//! What a stub says on a serial port (`__putstr()`, arch/x86/boot/compressed/misc.c): what the reference says, to the letter, if
//! that can predict it. Else its words stand in the stub, and its lines end with a carriage return and a line feed.

use memchr::memmem;

use super::scene::Scene;
use super::{Finding, Rule, serial};
use crate::machine::End;

/// Shorter ones stand anywhere by chance.
const LEAST_WORD: usize = 3;

/// Judges a stub that came to an end by itself.
pub fn judge(scene: &Scene) -> Option<Finding> {
    if !matches!(scene.outcome.end, End::HandOff | End::Halted)
        || scene.subject.image.vintage().is_some()
    {
        return None;
    }
    let actual = &scene.outcome.serial;
    let said = predicted(scene).filter(|_| serial::in_use(scene).is_some() || !actual.is_empty());
    let wrong = match said {
        Some(said) => differs(&said, actual),
        None => strange(scene),
    };
    let (expected, actual) = wrong?;
    Some(Finding::new(Rule::Ports, "text on the serial port", expected, actual))
}

/// What a stub that comes to its end must have printed.
pub fn predicted<'a>(scene: &'a Scene) -> Option<&'a str> {
    let known = scene.hand_over.as_ref().ok()?.text.as_deref();
    known.filter(|_| scene.outcome.end == End::HandOff)
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
    use super::*;

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
}
