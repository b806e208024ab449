//! Fields of a protocol buffer, as far as SentencePiece models need them
//! (<https://protobuf.dev/programming-guides/encoding/>).

/// A value as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored<'a> {
    /// A whole number, also a switch or the number of a kind.
    Number(u64),
    /// Four bytes, as floats have.
    Four([u8; 4]),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Eight bytes, which SentencePiece does not use.
    Eight,
}

/// Calls `each` with the number and the value of each field of a message, in order.
///
/// # Errors
/// The damaged part and its place, or the error of `each`.
pub(super) fn read_fields<'a>(
    message: &'a [u8],
    mut each: impl FnMut(u64, Stored<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = message;
    while !rest.is_empty() {
        let at = message.len() - rest.len();
        let key = number(&mut rest)
            .ok_or_else(|| format!("byte {at}: expected the number of a field, found none"))?;
        let value = match key & 7 {
            0 => number(&mut rest).map(Stored::Number),
            1 => take(&mut rest, 8).map(|_| Stored::Eight),
            2 => number(&mut rest)
                .and_then(|length| take(&mut rest, usize::try_from(length).ok()?))
                .map(Stored::Bytes),
            5 => take(&mut rest, 4).and_then(|bytes| Some(Stored::Four(bytes.try_into().ok()?))),
            kind => {
                return Err(format!(
                    "byte {at}: expected a field of kind 0, 1, 2 or 5, found {kind}"
                ));
            }
        };
        let value = value.ok_or_else(|| {
            let left = rest.len();
            format!("byte {at}: expected a value of field {}, found {left} bytes: the file is cut short", key >> 3)
        })?;
        each(key >> 3, value)?;
    }
    Ok(())
}

/// A number in groups of seven bits, the lowest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u64, Stored<'_>)>, String> {
        let mut found = Vec::new();
        read_fields(message, |field, value| {
            found.push((field, value));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn fields_are_read_in_order() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 3, b'a', b'b', b'c'],
            &[0x1d, 0, 0, 0x80, 0x3f],
            &[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xc2, 0x02, 0],
            &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ];
        let expected = [
            (1, Stored::Number(150)),
            (2, Stored::Bytes(b"abc")),
            (3, Stored::Four(1f32.to_le_bytes())),
            (4, Stored::Eight),
            (40, Stored::Bytes(b"")),
            (5, Stored::Number(u64::MAX)),
        ];
        assert_eq!(fields(&message.concat()).unwrap(), expected);
        assert_eq!(fields(b"").unwrap(), []);
    }

    #[test]
    fn damage_says_where() {
        for (message, expected) in [
            (&[0x08][..], "byte 0: expected a value of field 1, found 0 bytes"),
            (&[0x08, 0x01, 0x12, 9, b'a'], "byte 2: expected a value of field 2, found 1 bytes"),
            (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "field 2"),
            (&[0x1d, 0, 0], "byte 0: expected a value of field 3, found 2 bytes"),
            (&[0x0b], "expected a field of kind 0, 1, 2 or 5, found 3"),
            (&[0xff; 12], "byte 0: expected the number of a field, found none"),
        ] {
            let found = fields(message).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }
}
