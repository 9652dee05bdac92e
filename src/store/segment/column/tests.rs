use proptest::collection::vec;
use proptest::prelude::*;

use super::strings::Piece;
use super::*;

/// Columns written and read back in one family, with the bytes they took.
fn ints_round_trip(columns: &[Vec<u64>]) -> usize {
    let (mut encoder, mut stored) = (Encoder::default(), Vec::new());
    columns.iter().for_each(|c| ints::put(&mut encoder, c));
    let family = encoder.finish(&mut stored);
    let unpacked = family.unpack(&stored).expect("just written");
    let mut decoder = unpacked.reader();
    for column in columns {
        assert_eq!(&ints::decode(&mut decoder, column.len()).unwrap(), column);
    }
    assert!(decoder.codes.is_empty() && decoder.bits.is_empty());
    stored.len()
}

fn strings_round_trip(columns: &[Vec<Vec<u8>>]) -> usize {
    let (mut encoder, mut stored) = (Encoder::default(), Vec::new());
    for column in columns {
        let (mut arena, mut pieces) = (Vec::new(), Vec::new());
        for text in column {
            let start = arena.len();
            arena.extend_from_slice(text);
            pieces.push(Piece::since(&arena, start).0);
        }
        strings::put(&mut encoder, &arena, &pieces, |_| {});
    }
    let family = encoder.finish(&mut stored);
    let unpacked = family.unpack(&stored).expect("just written");
    let mut decoder = unpacked.reader();
    for column in columns {
        let back = strings::decode(&mut decoder, column.len()).unwrap();
        assert_eq!(back.len(), column.len());
        for (row, text) in column.iter().enumerate() {
            assert_eq!(back.get(row), text);
        }
    }
    stored.len()
}

fn numbers() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        vec(any::<u64>(), 0..50),
        vec(0u64..5, 0..700),
        vec((0u64..1000).prop_map(|n| n * 1000), 0..700),
        vec(
            prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), any::<u64>()],
            0..300
        ),
        // Rising, as times are.
        vec(0u64..1 << 40, 0..700).prop_map(|mut v| {
            v.sort_unstable();
            v
        }),
        (any::<u64>(), 0usize..300).prop_map(|(v, n)| vec![v; n]),
        // Many distinct values that repeat far back.
        vec(0u64..2000, 1000..4000),
    ]
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let forms = [
        "[a-c]{0,3}",
        "[0-9a-f]{32}",
        "[0-9a-f]{8}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "0|[1-9][0-9]{0,19}",
        "(0|[1-9][0-9]?)\\.(25[0-5]|[1-9])\\.0\\.(1[0-9]{2})",
        "[0-9.]{1,16}",
        "\\PC{0,40}",
    ];
    let strategies = forms.map(|form| vec(form.prop_map(String::into_bytes), 0..400).boxed());
    proptest::strategy::Union::new(strategies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn numbers_read_back(columns in vec(numbers(), 1..4)) {
        ints_round_trip(&columns);
    }

    #[test]
    fn strings_read_back(columns in vec(texts(), 1..4)) {
        strings_round_trip(&columns);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        codes in vec(prop_oneof![0u8..8, any::<u8>()], 0..200),
        text in vec(any::<u8>(), 0..100),
        bits in vec(any::<u8>(), 0..100),
        n in 0usize..300,
    ) {
        let unpacked = Unpacked { codes, text, bits };
        let _ = ints::decode(&mut unpacked.reader(), n);
        if let Ok(strings) = strings::decode(&mut unpacked.reader(), n) {
            (0..strings.len()).for_each(|row| _ = strings.get(row));
            let _ = strings.into_texts();
        }
    }
}

#[test]
fn numbers_take_the_bytes_their_form_needs() {
    let times: Vec<u64> = (0..1000)
        .map(|i| 1_795_177_873_602_688_429 + i * 1_000_000)
        .collect();
    assert!(ints_round_trip(&[times]) < 40);
    assert!(ints_round_trip(&[vec![7; 4096]]) < 10);
    let few: Vec<u64> = (0..1000).map(|i| [200, 404, 500][i % 3]).collect();
    assert!(ints_round_trip(&[few]) < 60);
}

#[test]
fn ids_in_hexadecimal_take_half() {
    let ids: Vec<Vec<u8>> = (0..100u64)
        .map(|i| format!("{:016x}", ints::mix(i)).into_bytes())
        .collect();
    assert!(strings_round_trip(&[ids]) < 810);
}

#[test]
fn a_flipped_bit_fails_the_checksum() {
    let (mut encoder, mut stored) = (Encoder::default(), Vec::new());
    ints::put(&mut encoder, &[1, 2, 3]);
    let family = encoder.finish(&mut stored);
    stored[0] ^= 1;
    assert_eq!(
        family.unpack(&stored).unwrap_err(),
        Damage("checksum of a column family")
    );
}
