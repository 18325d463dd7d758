//! The `protocol!` macro: an enum becomes a channel's protocol.

/// Declares an enum and makes it the protocol of a channel, with RLP as its encoding.
///
/// The header gives the channel's name, its version, and the largest payload in bytes. Each variant has
/// its code before it, from 0 on without gaps. A message that asks nothing is
///
/// - `Name { field: Type, .. }`: the RLP list of its fields, as most devp2p messages are;
/// - `Name(Type)`: the RLP of that one type, whatever it is;
/// - `Name`: the empty list.
///
/// `Name .. -> Reply` is a question, and `answer Reply ..` is what answers it. Each becomes a struct of that name
/// beside the enum (`Debug`, `Clone`, `PartialEq` and `Eq` are derived), and its RLP is the list of the request's
/// id and then
///
/// - of `Name { field: Type, .. }` the fields, as in `snap/1`;
/// - of `Name(Type)` that one type, as in `eth/66`;
/// - of `Name` nothing.
///
/// The enum then has a type parameter, which is seldom written: see [`Role`](crate::message::Role). Questions are
/// variants only of what a receiver gets, and answers of nothing: neither can be sent as a mere message.
///
/// Field types implement `alloy_rlp`'s `Encodable` and `Decodable`: integers, `bool`, `String`, `Bytes`,
/// `Vec<T>`, or a struct that derives them. Elements after a variant's own are refused, as is every byte
/// after the message. Codes that are not 0, 1, 2, ... in order do not compile, nor does a channel's name that is not
/// 1 to 8 printable ASCII characters, a version 0, or a payload of 0 bytes or of more than
/// [`MAX_PAYLOAD_BYTES`](crate::message::MAX_PAYLOAD_BYTES).
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use peerage::Message;
/// use peerage::message::{Question, Received};
///
/// peerage::protocol! {
///     /// What the nodes of a library say to each other.
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 * 1024 {
///         /// Asks for a book.
///         0 = Ask { title: String } -> Book,
///         /// Brings it.
///         1 = answer Book { text: Bytes },
///         /// Nobody need ask before that day.
///         2 = Closed { until_day: u64 },
///     }
/// }
///
/// // As it is sent:
/// let closed = Library::Closed { until_day: 7 };
/// let mut payload = BytesMut::new();
/// closed.encode(1, &mut payload);
/// assert_eq!(payload[..], [0xc1, 7]);
///
/// // A question, with its id in front:
/// let mut payload = BytesMut::new();
/// Ask { title: "Emma".into() }.encode(9, 1, &mut payload);
/// assert_eq!(payload[..], [0xc6, 9, 0x84, b'E', b'm', b'm', b'a']);
///
/// // As it is received:
/// fn on_message(message: Library<Received>) {
///     match message {
///         Library::Ask(request) => {
///             let text = Bytes::from(format!("all of {}", request.question.title));
///             let _lost_if_full = request.responder.try_answer(Book { text });
///         }
///         Library::Closed { until_day } => println!("closed until day {until_day}"),
///     }
/// }
/// ```
#[macro_export]
macro_rules! protocol {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $channel:literal / $version:literal, max $limit:tt $(* $factor:tt)* {
            $($body:tt)+
        }
    ) => {
        $crate::__protocol! {
            @sort { [$(#[$meta])*] [$vis] $name, $channel, $version, ($limit $(* $factor)*) }
            [] [] [] []
            $($body)+ ,
        }
    };
    ($(#[$meta:meta])* $vis:vis enum $name:ident : $channel:literal / $version:literal, max $limit:tt $(* $factor:tt)* {}) => {
        compile_error!("a protocol has at least one variant: `0 = Name { field: Type }`");
    };
    ($($anything:tt)*) => {
        compile_error!(
            "a protocol is `enum Name: \"channel\" / version, max bytes { .. }`, where the version is a number and the \
             bytes are one, a constant, or a product such as `64 * 1024`"
        );
    };
}

/// Sorts the variants of a protocol into messages, questions and answers, and writes the code for them.
#[doc(hidden)]
#[macro_export]
macro_rules! __protocol {
    // A trailing comma leaves one too many.
    (@sort $head:tt $plain:tt $questions:tt $answers:tt $codes:tt ,) => {
        $crate::__protocol! { @sort $head $plain $questions $answers $codes }
    };
    (@sort $head:tt $plain:tt $questions:tt [$($answers:tt)*] [$($codes:tt)*]
        $(#[$meta:meta])* $code:literal = answer $variant:ident $({ $($fields:tt)* })? $(( $($inner:tt)* ))?,
        $($rest:tt)*
    ) => {
        $crate::__protocol! { @sort $head $plain $questions
            [$($answers)* { [$(#[$meta])*] $code $variant $({ $($fields)* })? $(( $($inner)* ))? }]
            [$($codes)* $code] $($rest)* }
    };
    (@sort $head:tt $plain:tt [$($questions:tt)*] $answers:tt [$($codes:tt)*]
        $(#[$meta:meta])* $code:literal = $variant:ident $({ $($fields:tt)* })? $(( $($inner:tt)* ))? -> $answer:ident,
        $($rest:tt)*
    ) => {
        $crate::__protocol! { @sort $head $plain
            [$($questions)* { [$(#[$meta])*] $code $variant $answer $({ $($fields)* })? $(( $($inner)* ))? }]
            $answers [$($codes)* $code] $($rest)* }
    };
    (@sort $head:tt [$($plain:tt)*] $questions:tt $answers:tt [$($codes:tt)*]
        $(#[$meta:meta])* $code:literal = $variant:ident $({ $($fields:tt)* })? $(( $($inner:tt)* ))?,
        $($rest:tt)*
    ) => {
        $crate::__protocol! { @sort $head
            [$($plain)* { [$(#[$meta])*] $code $variant $({ $($fields)* })? $(( $($inner)* ))? }]
            $questions $answers [$($codes)* $code] $($rest)* }
    };

    // What is none of these, and says so.
    (@sort $head:tt $plain:tt $questions:tt $answers:tt $codes:tt
        $(#[$meta:meta])* $code:literal = $variant:ident $({ $($fields:tt)* })? $(( $($inner:tt)* ))? -> $($rest:tt)*
    ) => {
        compile_error!(concat!(
            "after `", stringify!($variant), " ->` comes the mere name of an answer of this protocol, which is declared \
             beside it: `code = answer Name { field: Type }`"
        ));
    };
    (@sort $head:tt $plain:tt $questions:tt $answers:tt $codes:tt
        $(#[$meta:meta])* answer $variant:ident $($rest:tt)*
    ) => {
        compile_error!(concat!("`answer ", stringify!($variant), "` lacks its code: `code = answer Name`"));
    };
    (@sort $head:tt $plain:tt $questions:tt $answers:tt $codes:tt
        $(#[$meta:meta])* $variant:ident $($rest:tt)*
    ) => {
        compile_error!(concat!(
            "`", stringify!($variant), "` lacks its code: `code = Name`, counted from 0 in the order of the variants"
        ));
    };
    (@sort $head:tt $plain:tt $questions:tt $answers:tt $codes:tt $first:tt $($rest:tt)*) => {
        compile_error!(concat!(
            "found `", stringify!($first), "` where a variant begins: each is `code = Name`, `code = Name(Type)` or \
             `code = Name { field: Type }`, with `-> Answer` after it if it is a question or `answer` before the name \
             if it is an answer, and a comma after each"
        ));
    };
    (@sort { [$(#[$meta:meta])*] [$vis:vis] $name:ident, $channel:literal, $version:literal, $limit:tt }
        $plain:tt [] [$answer:tt $($answers:tt)*] $codes:tt
    ) => {
        compile_error!(concat!(
            "`", stringify!($name), "` has an answer but no question: what is answered is declared as \
             `code = Question -> Answer`"
        ));
    };

    (@sort { [$(#[$meta:meta])*] [$vis:vis] $name:ident, $channel:literal, $version:literal, $limit:tt }
        $plain:tt [{ $qmeta:tt $qcode:literal $question:ident $reply:ident $($qbody:tt)? } $($questions:tt)*] []
        $codes:tt
    ) => {
        compile_error!(concat!(
            "`", stringify!($reply), "` is the answer to `", stringify!($question), "`, but not declared as one: write \
             `code = answer ", stringify!($reply), "` in the same protocol"
        ));
    };

    // All are sorted. Without questions the enum is an ordinary one.
    (@sort { [$(#[$meta:meta])*] [$vis:vis] $name:ident, $channel:literal, $version:literal, $limit:tt }
        [$({ [$(#[$vmeta:meta])*] $code:literal $variant:ident $({ $($fields:tt)* })? $(( $inner:ty ))? })*]
        [] [] $codes:tt
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $(
                #[allow(missing_docs, reason = "a protocol's fields are often said in full by their names")]
                $(#[$vmeta])*
                $variant $({ $($fields)* })? $(( $inner ))?
            ),*
        }

        $crate::__protocol! { @check $channel $version $codes $limit }

        impl $crate::message::Message for $name {
            $crate::__protocol! { @consts $channel $version $limit $codes }
            $crate::__protocol! { @plain { $($code $variant $({ $($fields)* })? $(( $inner ))?),* } {} }
            type Received = Self;

            fn received(self) -> Self {
                self
            }
        }
    };
    (@sort { [$(#[$meta:meta])*] [$vis:vis] $name:ident, $channel:literal, $version:literal, $limit:tt }
        [$({ [$(#[$vmeta:meta])*] $code:literal $variant:ident $({ $($fields:tt)* })? $(( $inner:ty ))? })*]
        [$({ [$(#[$qmeta:meta])*] $qcode:literal $question:ident $reply:ident $($qbody:tt)? })+]
        [$({ [$(#[$ameta:meta])*] $acode:literal $answer:ident $($abody:tt)? })*]
        $codes:tt
    ) => {
        $(#[$meta])*
        $vis enum $name<R: $crate::message::Role = $crate::message::Sent> {
            $(
                #[allow(missing_docs, reason = "a protocol's fields are often said in full by their names")]
                $(#[$vmeta])*
                $variant $({ $($fields)* })? $(( $inner ))?,
            )*
            $(
                #[doc = concat!("Asks [`", stringify!($question), "`].")]
                $question(R::Request<$question>),
            )+
        }

        $crate::__protocol! { @check $channel $version $codes $limit }
        $( $crate::__protocol! { @struct [$(#[$qmeta])*] [$vis] $question $($qbody)? } )+
        $( $crate::__protocol! { @struct [$(#[$ameta])*] [$vis] $answer $($abody)? } )*

        impl $crate::message::Message for $name {
            $crate::__protocol! { @consts $channel $version $limit $codes }
            $crate::__protocol! {
                @plain { $($code $variant $({ $($fields)* })? $(( $inner ))?),* } { $($question)+ }
            }
            type Received = $name<$crate::message::Received>;

            fn kind(code: u8) -> $crate::message::Kind {
                match code {
                    $( $qcode => $crate::message::Kind::Question, )+
                    $( $acode => $crate::message::Kind::Answer, )*
                    _ => $crate::message::Kind::Message,
                }
            }

            fn decode_question(
                _version: u32,
                code: u8,
                payload: &$crate::message::__support::Bytes,
                wire: impl $crate::message::Wire,
            ) -> ::core::result::Result<Self::Received, $crate::message::DecodeError> {
                match code {
                    $( $qcode => {
                        let question = $question::__decode(payload)?;
                        let responder = $crate::message::Responder::over(wire);
                        Ok($name::$question($crate::message::Request { question, responder }))
                    } )+
                    _ => Err($crate::message::DecodeError::UnknownCode { code }),
                }
            }

            fn received(self) -> Self::Received {
                $crate::__protocol! {
                    @received self $name $($variant $({ $($fields)* })? $(( $inner ))?),* ; $($question)+
                }
            }
        }

        // So that the macro in it is not seen by other protocols.
        const _: () = {
            $crate::__protocol! { @answers ($) $($answer)* }
            $( __peerage_answer! { declared $reply } )+

            $(
                impl $crate::message::Question for $question {
                    type Protocol = $name;
                    type Answer = __peerage_answer!($reply);
                    const CODE: u8 = $qcode;

                    fn encode(&self, id: u64, _version: u32, out: &mut $crate::message::__support::BytesMut) {
                        self.__encode(id, out);
                    }

                    fn received(request: $crate::message::Request<Self>) -> $name<$crate::message::Received> {
                        $name::$question(request)
                    }
                }
            )+
        };
        $(
            impl $crate::message::Answer for $answer {
                type Protocol = $name;
                const CODE: u8 = $acode;

                fn encode(&self, id: u64, _version: u32, out: &mut $crate::message::__support::BytesMut) {
                    self.__encode(id, out);
                }

                fn decode(
                    _version: u32,
                    payload: &$crate::message::__support::Bytes,
                ) -> ::core::result::Result<Self, $crate::message::DecodeError> {
                    Self::__decode(payload)
                }
            }
        )*
    };

    // Turns the name of an answer into its type. Without it, a name that is not declared would be looked for in all
    // of the surroundings, and the compiler would propose whatever it finds there.
    (@answers ($dollar:tt) $first:ident $($answer:ident)*) => {
        #[allow(unused_macros, reason = "some of its rules are for mistakes")]
        macro_rules! __peerage_answer {
            (declared $first) => {};
            $( (declared $answer) => {}; )*
            (declared $dollar other:ident) => {
                compile_error!(concat!(
                    "`", stringify!($dollar other), "` is the answer to a question, but not declared as one: write \
                     `code = answer ", stringify!($dollar other), "` in the same protocol"
                ));
            };
            $( ($answer) => { $answer }; )*
            // Of the first, and of one that is not declared: of that enough was said.
            ($dollar other:ident) => { $first };
        }
    };

    (@check $channel:literal $version:literal [$($code:literal)*] ($($limit:tt)*)) => {
        // Whether or not the protocol is ever used.
        const _: () = {
            let _ = $crate::id::ChannelId::from_static($channel);
            let (version, limit): (u32, usize) = ($version, $($limit)*);
            assert!(version >= 1, "versions of a protocol count from 1");
            assert!(limit > 0, "a protocol whose payloads have at most 0 bytes says nothing: raise `max`");
            let codes: &[u8] = &[$($code),*];
            let mut i = 0;
            while i < codes.len() {
                assert!(codes[i] as usize == i, "codes run from 0 upwards, in order, without gaps");
                i += 1;
            }
            assert!(codes.len() <= 112, "a channel has at most 112 codes: ids above 0x7f do not interoperate");
            assert!(
                limit <= $crate::message::MAX_PAYLOAD_BYTES,
                "no payload above 16,777,214 bytes interoperates"
            );
        };
    };

    (@consts $channel:literal $version:literal ($($limit:tt)*) [$($code:literal)*]) => {
        const CHANNEL: $crate::id::ChannelId = $crate::id::ChannelId::from_static($channel);
        const VERSIONS: &'static [$crate::message::Version] = &[$crate::message::Version {
            number: $version,
            #[allow(clippy::cast_possible_truncation, reason = "checked above to be at most 112")]
            codes: [$($code as u8),*].len() as u8,
        }];
        const MAX_BYTES: usize = $($limit)*;
    };

    // The methods of `Message` that know no questions.
    (@plain
        { $($code:literal $variant:ident
            $({ $($(#[$fmeta:meta])* $field:ident : $fty:ty),* $(,)? })? $(( $inner:ty ))?),* }
        { $($question:ident)* }
    ) => {
        fn code(&self) -> u8 {
            match self {
                $( Self::$variant { .. } => $code, )*
                $( Self::$question(never) => match *never {}, )*
            }
        }

        #[allow(unused_variables, reason = "a protocol may consist of questions and answers alone")]
        fn encode(&self, _version: u32, out: &mut $crate::message::__support::BytesMut) {
            match self {
                $(
                    $crate::__protocol!(@pattern inner $variant $({ $($field),* })? $(( $inner ))?) =>
                        $crate::__protocol!(@encode inner out $({ $($field),* })? $(( $inner ))?),
                )*
                $( Self::$question(never) => match *never {}, )*
            }
        }

        #[allow(unused_variables, reason = "a protocol may consist of questions and answers alone")]
        fn decode(
            _version: u32,
            code: u8,
            payload: &$crate::message::__support::Bytes,
        ) -> ::core::result::Result<Self, $crate::message::DecodeError> {
            match code {
                $( $code => {
                    let mut input: &[u8] = payload;
                    let message =
                        $crate::__protocol!(@decode input $variant $({ $($field),* })? $(( $inner ))?);
                    $crate::message::__support::end(input)?;
                    Ok(message)
                } )*
                _ => Err($crate::message::DecodeError::UnknownCode { code }),
            }
        }
    };

    (@pattern $bound:ident $variant:ident { $($field:ident),* }) => { Self::$variant { $($field),* } };
    (@pattern $bound:ident $variant:ident ( $inner:ty )) => { Self::$variant($bound) };
    (@pattern $bound:ident $variant:ident) => { Self::$variant };

    // The same message, as its receiver gets it.
    (@received $value:ident $name:ident
        $($variant:ident $({ $($(#[$fmeta:meta])* $field:ident : $fty:ty),* $(,)? })? $(( $inner:ty ))?),*;
        $($question:ident)*
    ) => {
        match $value {
            $(
                $crate::__protocol!(@pattern inner $variant $({ $($field),* })? $(( $inner ))?) =>
                    $crate::__protocol!(@build inner $name $variant $({ $($field),* })? $(( $inner ))?),
            )*
            $( Self::$question(never) => match never {}, )*
        }
    };
    (@build $bound:ident $name:ident $variant:ident { $($field:ident),* }) => { $name::$variant { $($field),* } };
    (@build $bound:ident $name:ident $variant:ident ( $inner:ty )) => { $name::$variant($bound) };
    (@build $bound:ident $name:ident $variant:ident) => { $name::$variant };

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

    // A question or an answer: a struct, whose list begins with the request's id.
    (@struct [$(#[$meta:meta])*] [$vis:vis] $name:ident
        { $($(#[$fmeta:meta])* $field:ident : $fty:ty),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name {
            $(
                #[allow(missing_docs, reason = "a protocol's fields are often said in full by their names")]
                $(#[$fmeta])*
                pub $field: $fty,
            )*
        }

        impl $name {
            $crate::__protocol! { @coders { $($field)* } { $($field: $fty),* } { $($field),* } }
        }
    };
    (@struct [$(#[$meta:meta])*] [$vis:vis] $name:ident ( $inner:ty )) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name(
            #[allow(missing_docs, reason = "its type says it")]
            pub $inner,
        );

        impl $name {
            $crate::__protocol! { @coders (inner) { inner: $inner } ( inner ) }
        }
    };
    (@struct [$(#[$meta:meta])*] [$vis:vis] $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name;

        impl $name {
            $crate::__protocol! { @coders {} {} {} }
        }
    };
    (@coders $pattern:tt { $($field:ident : $fty:ty),* } $build:tt) => {
        fn __encode(&self, id: u64, out: &mut $crate::message::__support::BytesMut) {
            let $crate::__protocol!(@bind $pattern) = self;
            $crate::message::__support::list_header(
                $crate::message::__support::length(&id) $( + $crate::message::__support::length($field) )*,
                out,
            );
            $crate::message::__support::encode(&id, out);
            $( $crate::message::__support::encode($field, out); )*
        }

        fn __decode(
            payload: &$crate::message::__support::Bytes,
        ) -> ::core::result::Result<Self, $crate::message::DecodeError> {
            let mut input: &[u8] = payload;
            let mut body = $crate::message::__support::list(&mut input)?;
            let _id: u64 = $crate::message::__support::decode(&mut body)?;
            $( let $field = $crate::message::__support::decode::<$fty>(&mut body)?; )*
            $crate::message::__support::end(body)?;
            $crate::message::__support::end(input)?;
            Ok($crate::__protocol!(@made $build))
        }
    };
    (@bind { $($field:ident)* }) => { Self { $($field),* } };
    (@bind ( $inner:ident )) => { Self($inner) };
    (@made { $($field:ident),* }) => { Self { $($field),* } };
    (@made ( $inner:ident )) => { Self($inner) };
}

/// What the macro's expansion calls. Not part of the public interface.
#[doc(hidden)]
pub mod support {
    pub use bytes::{Bytes, BytesMut};

    use crate::message::DecodeError;
    use alloy_rlp::{Decodable, Encodable, Header};

    pub fn list_header(payload_length: usize, out: &mut BytesMut) {
        let header = Header { list: true, payload_length };
        // All at once and not a byte more: an exact buffer is frozen without another allocation.
        out.reserve(header.length() + payload_length);
        header.encode(out);
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
#[path = "protocol_tests.rs"]
mod tests;
