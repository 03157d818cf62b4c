//! The one macro that ties a frame kind to its body type, for requests and for outcomes.

/// Generates an owned enum, a borrowed enum over archived bodies, and the table between kind numbers and bodies.
///
/// Each body is one fixed-shape rkyv struct. `access` validates the bytes once and gives references into them.
macro_rules! bodies {
    (
        $(#[$owned_meta:meta])* owned $Owned:ident;
        $(#[$ref_meta:meta])* borrowed $Ref:ident;
        $( $(#[$variant_meta:meta])* $number:literal => $Variant:ident($Body:ty) ),+ $(,)?
    ) => {
        $(#[$owned_meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Owned {
            $( $(#[$variant_meta])* $Variant($Body), )+
        }

        $(#[$ref_meta])*
        #[derive(Clone, Copy, Debug)]
        pub enum $Ref<'a> {
            $( $(#[$variant_meta])* $Variant(&'a rkyv::Archived<$Body>), )+
        }

        impl $Owned {
            /// Every kind number of this table, ascending as listed.
            pub const KINDS: &'static [u16] = &[$($number),+];

            /// The frame kind of this body.
            pub fn kind(&self) -> u16 {
                match self { $( Self::$Variant(_) => $number, )+ }
            }

            /// The name of a kind, as the documentation spells it; `None` if the number is not in this table.
            pub fn kind_name(kind: u16) -> Option<&'static str> {
                match kind { $( $number => Some(stringify!($Variant)), )+ _ => None }
            }

            /// Appends the archived body to `out`.
            pub fn encode_body(&self, out: &mut Vec<u8>) {
                match self { $( Self::$Variant(body) => $crate::frame::archive_into(body, out), )+ }
            }

            /// Appends the archived body to `out`, if it has at most `most` bytes.
            ///
            /// # Errors
            /// It has more; `out` may have a part of it.
            pub fn encode_body_at_most(&self, most: usize, out: &mut Vec<u8>) -> Result<(), $crate::frame::OverLong> {
                match self { $( Self::$Variant(body) => $crate::frame::archive_at_most(body, most, out), )+ }
            }

            /// Validates `body` as `kind` and copies it out.
            ///
            /// # Errors
            /// `FrameError::UnknownKind` or `FrameError::Body`.
            pub fn decode(kind: u16, body: &[u8]) -> Result<Self, $crate::frame::FrameError> {
                Ok($Ref::access(kind, body)?.to_owned_body())
            }
        }

        impl<'a> $Ref<'a> {
            /// Validates `body` as `kind`, in place.
            ///
            /// # Errors
            /// `FrameError::UnknownKind` when the number is not in this table, `FrameError::Body` when the bytes are
            /// not a valid archive of its body.
            pub fn access(kind: u16, body: &'a [u8]) -> Result<Self, $crate::frame::FrameError> {
                match kind {
                    $( $number => Ok(Self::$Variant($crate::frame::access::<rkyv::Archived<$Body>>(kind, body)?)), )+
                    _ => Err($crate::frame::FrameError::UnknownKind(kind)),
                }
            }

            /// Copies the archived body into its owned form.
            pub fn to_owned_body(self) -> $Owned {
                match self {
                    $( Self::$Variant(body) => $Owned::$Variant($crate::frame::to_owned(body)), )+
                }
            }
        }

        $( impl From<$Body> for $Owned {
            fn from(body: $Body) -> Self { Self::$Variant(body) }
        } )+
    };
}

pub(crate) use bodies;
