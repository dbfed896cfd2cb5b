//! Bytes as hexadecimal digits, in lower case.

/// The two digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let one = b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = [one[byte >> 4], one[byte & 15]];
        byte += 1;
    }
    all
};

/// As text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte)).map(char::from).collect()
}

/// Two digits a byte, into a place of twice their number.
pub fn write_hex(place: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in place.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&digits(*byte));
    }
}

fn digits(byte: u8) -> [u8; 2] {
    DIGITS[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits_in_order() {
        let bytes = [0x00, 0x0f, 0xf0, 0x1a, 0xff];
        assert_eq!(hex(&bytes), "000ff01aff");
        let mut place = [0; 10];
        write_hex(&mut place, &bytes);
        assert_eq!(&place, b"000ff01aff");
    }
}
