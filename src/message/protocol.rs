//! The `protocol!` macro: an enum becomes a channel's protocol.

/// Declares an enum and makes it the protocol of a channel, with RLP as its encoding.
///
/// The header gives the channel's name, its version, and the largest payload in bytes. Each variant has
/// its code before it, from 0 on without gaps. A variant is
///
/// - `Name { field: Type, .. }`: the RLP list of its fields, as most devp2p messages are;
/// - `Name(Type)`: the RLP of that one type, whatever it is;
/// - `Name`: the empty list.
///
/// Field types implement `alloy_rlp`'s `Encodable` and `Decodable`: integers, `bool`, `String`, `Bytes`,
/// `Vec<T>`, or a struct that derives them. Elements after a variant's own are refused, as is every byte
/// after the message. Codes that are not 0, 1, 2, ... in order do not compile.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use peerage::Message;
///
/// peerage::protocol! {
///     /// What the nodes of a library say to each other.
///     #[derive(Debug, PartialEq)]
///     pub enum Library: "library" / 1, max 64 * 1024 {
///         /// Asks for a book.
///         0 = Ask { id: u64, title: String },
///         /// Brings it.
///         1 = Book { id: u64, text: Bytes },
///         2 = Closed,
///     }
/// }
///
/// let question = Library::Ask { id: 1, title: "Emma".into() };
/// let mut payload = BytesMut::new();
/// question.encode(1, &mut payload);
/// assert_eq!(Library::decode(1, question.code(), &payload.freeze()), Ok(question));
/// ```
#[macro_export]
macro_rules! protocol {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $channel:literal / $version:literal, max $limit:tt $(* $factor:tt)* {
            $(
                $(#[$vmeta:meta])*
                $code:literal = $variant:ident
                    $( { $( $(#[$fmeta:meta])* $field:ident : $fty:ty ),* $(,)? } )?
                    $( ( $inner:ty ) )?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $(
                #[allow(missing_docs, reason = "a protocol's fields are often said in full by their names")]
                $(#[$vmeta])*
                $variant $( { $( $(#[$fmeta])* $field: $fty ),* } )? $( ( $inner ) )?
            ),+
        }

        const _: () = {
            let codes: &[u8] = &[$($code),+];
            let mut i = 0;
            while i < codes.len() {
                assert!(codes[i] as usize == i, "codes run from 0 upwards, in order, without gaps");
                i += 1;
            }
            assert!(codes.len() <= 112, "a channel has at most 112 codes: ids above 0x7f do not interoperate");
            assert!(
                ($limit $(* $factor)*) <= $crate::message::MAX_PAYLOAD_BYTES,
                "no payload above 16,777,214 bytes interoperates"
            );
        };

        impl $crate::message::Message for $name {
            const CHANNEL: $crate::id::ChannelId = $crate::id::ChannelId::from_static($channel);
            const VERSIONS: &'static [$crate::message::Version] = &[$crate::message::Version {
                number: $version,
                #[allow(clippy::cast_possible_truncation, reason = "checked above to be at most 112")]
                codes: [$($code as u8),+].len() as u8,
            }];
            const MAX_BYTES: usize = $limit $(* $factor)*;

            fn code(&self) -> u8 {
                match self {
                    $( Self::$variant { .. } => $code, )+
                }
            }

            fn encode(&self, _version: u32, out: &mut $crate::message::__support::BytesMut) {
                match self {
                    $(
                        $crate::protocol!(@pattern inner $variant $( { $($field),* } )? $( ( $inner ) )?) =>
                            $crate::protocol!(@encode inner out $( { $($field),* } )? $( ( $inner ) )?),
                    )+
                }
            }

            fn decode(
                _version: u32,
                code: u8,
                payload: &$crate::message::__support::Bytes,
            ) -> ::core::result::Result<Self, $crate::message::DecodeError> {
                let mut input: &[u8] = payload;
                let message = match code {
                    $(
                        $code => $crate::protocol!(@decode input $variant $( { $($field),* } )? $( ( $inner ) )?),
                    )+
                    _ => return Err($crate::message::DecodeError::UnknownCode { code }),
                };
                $crate::message::__support::end(input)?;
                Ok(message)
            }
        }
    };

    (@pattern $bound:ident $variant:ident { $($field:ident),* }) => { Self::$variant { $($field),* } };
    (@pattern $bound:ident $variant:ident ( $inner:ty )) => { Self::$variant($bound) };
    (@pattern $bound:ident $variant:ident) => { Self::$variant };

    (@encode $bound:ident $out:ident { $($field:ident),* }) => {{
        $crate::message::__support::list_header(0 $( + $crate::message::__support::length($field) )*, $out);
        $( $crate::message::__support::encode($field, $out); )*
    }};
    (@encode $bound:ident $out:ident ( $inner:ty )) => { $crate::message::__support::encode($bound, $out) };
    (@encode $bound:ident $out:ident) => { $crate::message::__support::list_header(0, $out) };

    (@decode $input:ident $variant:ident { $($field:ident),* }) => {{
        let mut body = $crate::message::__support::list(&mut $input)?;
        let message = Self::$variant { $( $field: $crate::message::__support::decode(&mut body)? ),* };
        $crate::message::__support::end(body)?;
        message
    }};
    (@decode $input:ident $variant:ident ( $inner:ty )) => {
        Self::$variant($crate::message::__support::decode::<$inner>(&mut $input)?)
    };
    (@decode $input:ident $variant:ident) => {{
        $crate::message::__support::end($crate::message::__support::list(&mut $input)?)?;
        Self::$variant
    }};
}

/// What the macro's expansion calls. Not part of the public interface.
#[doc(hidden)]
pub mod support {
    pub use bytes::{Bytes, BytesMut};

    use crate::message::DecodeError;
    use alloy_rlp::{Decodable, Encodable, Header};

    pub fn list_header(payload_length: usize, out: &mut BytesMut) {
        Header { list: true, payload_length }.encode(out);
    }

    pub fn length<T: Encodable>(value: &T) -> usize {
        value.length()
    }

    pub fn encode<T: Encodable>(value: &T, out: &mut BytesMut) {
        value.encode(out);
    }

    pub fn list<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
        Ok(Header::decode_bytes(input, true)?)
    }

    pub fn decode<T: Decodable>(input: &mut &[u8]) -> Result<T, DecodeError> {
        Ok(T::decode(input)?)
    }

    pub fn end(rest: &[u8]) -> Result<(), DecodeError> {
        if rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { extra_bytes: rest.len() }) }
    }
}

#[cfg(test)]
mod tests {
    use crate::message::{DecodeError, Message};
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    crate::protocol! {
        #[derive(Debug, Clone, PartialEq)]
        enum Sample: "sample" / 3, max 2 * 1024 {
            0 = Pair { id: u64, text: String },
            1 = Raw(Bytes),
            2 = Nothing,
            3 = Many(Vec<u64>),
        }
    }

    fn encoded(message: &Sample) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(3, &mut out);
        out.freeze()
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
        fn no_payload_panics(code: u8, payload: Vec<u8>) {
            let _ = Sample::decode(3, code, &Bytes::from(payload));
        }
    }
}
