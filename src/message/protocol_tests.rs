use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::message::{Answer, DecodeError, Head, Kind, Message, Question, Received, Template};

crate::protocol! {
    #[derive(Debug, Clone, PartialEq)]
    enum Sample: "sample" / 3, max 2 * 1024 {
        0 = Pair { id: u64, text: String },
        1 = Raw(Bytes),
        2 = Nothing,
        3 = Many(Vec<u64>),
    }
}

crate::protocol! {
    /// All forms of questions and answers.
    #[derive(Debug, Clone, PartialEq)]
    enum Asking: "asking" / 1, max 2 * 1024 {
        /// As in snap.
        0 = Fields {
            /// The first.
            from: u64,
            text: String,
        } -> Lists,
        1 = answer Lists(Vec<u64>),
        2 = Whole(Vec<u64>) -> Done,
        3 = answer Done,
        4 = Bare -> Done,
        5 = Told { text: String },
        6 = answer Text { text: String },
        7 = Hushed,
    }
}

fn encoded(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(3, &mut out);
    out.freeze()
}

fn asked(question: &impl Question) -> Bytes {
    let mut out = BytesMut::new();
    question.encode(5, 1, &mut out);
    out.freeze()
}

fn answered(answer: &impl Answer) -> Bytes {
    let mut out = BytesMut::new();
    answer.encode(5, 1, &mut out);
    out.freeze()
}

/// A way back that nothing is sent on.
struct Nowhere;

impl crate::message::Wire for Nowhere {
    fn id(&self) -> u64 {
        5
    }

    fn version(&self) -> u32 {
        1
    }

    fn push(&mut self, _code: u8, _payload: Bytes) -> Result<(), crate::message::Refusal> {
        Ok(())
    }

    fn room(&self) -> crate::address::BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn refuse(&mut self) {}
}

#[test]
fn variants_have_the_encoding_that_devp2p_expects() {
    assert_eq!(Sample::MAX_BYTES, 2048);
    assert_eq!(Sample::VERSIONS[0].codes, 4);
    assert_eq!(encoded(&Sample::Pair { id: 1, text: "ab".into() })[..], [0xc4, 1, 0x82, b'a', b'b']);
    assert_eq!(encoded(&Sample::Raw(Bytes::new()))[..], [0x80]);
    assert_eq!(encoded(&Sample::Nothing)[..], [0xc0]);
    assert_eq!(encoded(&Sample::Many(vec![1, 2]))[..], [0xc2, 1, 2]);
}

#[test]
fn what_is_not_a_message_is_refused() {
    let decode = |code, bytes: &'static [u8]| Sample::decode(3, code, &Bytes::from_static(bytes));
    assert_eq!(decode(4, &[0xc0]), Err(DecodeError::UnknownCode { code: 4 }));
    assert_eq!(decode(2, &[0xc0, 0]), Err(DecodeError::Trailing { extra_bytes: 1 }));
    assert_eq!(decode(2, &[0xc1, 0x80]), Err(DecodeError::Trailing { extra_bytes: 1 }));
    assert_eq!(decode(0, &[0xc3, 1, 0x80, 5]), Err(DecodeError::Trailing { extra_bytes: 1 }));
    for (code, bytes) in
        [(0, &[][..]), (0, &[0xc0]), (0, &[0x80]), (1, &[0xb8]), (1, &[0xbf, 255]), (3, &[1])]
    {
        assert!(matches!(decode(code, bytes), Err(DecodeError::Rlp(_))), "{code} {bytes:?}");
    }
}

#[test]
fn the_id_is_the_first_item_of_the_list() {
    // Fields follow it one by one, as in snap/1; a single value stands as it is, as in eth/66.
    assert_eq!(asked(&Fields { from: 7, text: "ab".into() })[..], [0xc5, 5, 7, 0x82, b'a', b'b']);
    assert_eq!(asked(&Whole(vec![1, 2]))[..], [0xc4, 5, 0xc2, 1, 2]);
    assert_eq!(asked(&Bare)[..], [0xc1, 5]);
    assert_eq!(answered(&Lists(vec![9]))[..], [0xc3, 5, 0xc1, 9]);
    assert_eq!(answered(&Done)[..], [0xc1, 5]);
    assert_eq!(answered(&Text { text: String::new() })[..], [0xc2, 5, 0x80]);
}

#[test]
fn each_code_is_what_the_protocol_says() {
    use Kind::{Answer, Message, Question};
    let kinds: Vec<Kind> = (0..8).map(Asking::kind).collect();
    assert_eq!(kinds, [Question, Answer, Question, Answer, Question, Message, Answer, Message]);
    assert!((0..=255).all(|code| Sample::kind(code) == Message), "a protocol without questions has messages");
}

#[test]
fn questions_are_received_with_their_responders() {
    let decode = |code, payload: &Bytes| Asking::decode_question(1, code, payload, Nowhere);
    let fields = Fields { from: 7, text: "ab".into() };
    assert!(matches!(decode(0, &asked(&fields)), Ok(Asking::Fields(request)) if request.question == fields));
    assert!(
        matches!(decode(2, &asked(&Whole(vec![1]))), Ok(Asking::Whole(request)) if request.question.0 == [1])
    );
    assert!(matches!(decode(4, &asked(&Bare)), Ok(Asking::Bare(request)) if request.question == Bare));
}

#[test]
fn a_question_or_answer_is_no_message() {
    let payload = asked(&Bare);
    for code in [0, 1, 2, 3, 4, 6] {
        assert_eq!(Asking::decode(1, code, &payload), Err(DecodeError::UnknownCode { code }));
    }
    for code in [1, 3, 5, 6, 7, 8] {
        let decoded = Asking::decode_question(1, code, &payload, Nowhere);
        assert_eq!(decoded.unwrap_err(), DecodeError::UnknownCode { code });
    }
}

#[test]
fn messages_are_received_as_they_were_sent() {
    let sent: Asking = Asking::Told { text: "ab".into() };
    let received: Asking<Received> = sent.received();
    assert!(matches!(received, Asking::Told { text } if text == "ab"));
    assert!(matches!(Asking::Hushed.received(), Asking::Hushed));
    assert_eq!(Sample::Nothing.received(), Sample::Nothing);
}

#[test]
fn the_id_of_an_answer_is_read_without_the_answer() {
    assert_eq!(Head::peek(&answered(&Lists(vec![9]))), Ok(Head::Body(5)));
    assert_eq!(Head::peek(&[0xc3, 5, 0xff, 0xff]), Ok(Head::Body(5)), "the rest is nobody's yet");
    for id in [0, 1, 127, 128, u64::MAX] {
        assert_eq!(Head::peek(&Head::refusal(id)), Ok(Head::Refusal(id)));
    }
    for broken in [
        &[][..],
        &[0xc0],
        &[0xc0, 5],
        &[0xc2, 5],
        &[0x81, 5],
        &[5, 5],
        &[0xc1, 0xc0],
        &[0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ] {
        assert!(Head::peek(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn a_template_is_the_question_under_any_id() {
    for id in [0, 1, 127, 128, 60_000, u64::MAX] {
        for text in ["", "a", &"long".repeat(30), &"longer".repeat(300)] {
            let question = Fields { from: 7, text: text.to_owned() };
            let mut expected = BytesMut::new();
            question.encode(id, 1, &mut expected);
            let template = Template::of(&question, 1);
            assert_eq!(template.with_id(id), expected);
            assert!(expected.len() <= template.max_bytes());
        }
    }
    assert_eq!(Template::of(&Bare, 1).with_id(u64::MAX).len(), Template::of(&Bare, 1).max_bytes());
}

proptest! {
    #[test]
    fn messages_round_trip_and_no_truncation_decodes(id: u64, text in ".{0,20}", many: Vec<u64>) {
        for message in [Sample::Pair { id, text }, Sample::Many(many)] {
            let bytes = encoded(&message);
            prop_assert_eq!(Sample::decode(3, message.code(), &bytes).unwrap(), message.clone());
            for len in 0..bytes.len() {
                prop_assert!(Sample::decode(3, message.code(), &bytes.slice(..len)).is_err());
            }
        }
    }

    #[test]
    fn answers_round_trip_and_no_truncation_decodes(many: Vec<u64>, text in ".{0,20}") {
        let lists = Lists(many);
        let bytes = answered(&lists);
        prop_assert_eq!(Lists::decode(1, &bytes), Ok(lists));
        for len in 0..bytes.len() {
            prop_assert!(Lists::decode(1, &bytes.slice(..len)).is_err());
        }
        let text = Text { text };
        prop_assert_eq!(Text::decode(1, &answered(&text)), Ok(text));
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(Lists::decode(1, &longer.into()), Err(DecodeError::Trailing { extra_bytes: 1 }));
    }

    #[test]
    fn no_payload_panics(code: u8, payload: Vec<u8>) {
        let payload = Bytes::from(payload);
        let _ = Sample::decode(3, code, &payload);
        let _ = Asking::decode(1, code, &payload);
        let _ = Asking::decode_question(1, code, &payload, Nowhere);
        let _ = Lists::decode(1, &payload);
        let _ = Head::peek(&payload);
    }
}
