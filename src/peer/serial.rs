//! The serde forms of types whose own files are no place for them.
//!
//! Each mirrors its type field by field; the compiler refuses a mirror that lacks one.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::backoff::HoldReason;
use super::state::{EvictReason, Introduction, Remote};
use crate::address::{Endpoint, NodeAddress};
use crate::message::{AgreedChannel, Capability};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Introduction", deny_unknown_fields)]
struct IntroductionForm {
    channels: Arc<[AgreedChannel]>,
    services: Arc<[String]>,
    capabilities: Arc<[Capability]>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Remote", rename_all = "snake_case")]
enum RemoteForm {
    Address(NodeAddress),
    Endpoint(Endpoint),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EvictReason", rename_all = "snake_case")]
enum EvictReasonForm {
    Errored,
    Misbehaved,
    Upgrade,
    Quota,
    Rotation,
    Age,
    Operator,
    Banned,
    SeedDone,
    SeedMode,
    LimitLowered,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HoldReason", rename_all = "snake_case")]
enum HoldReasonForm {
    Cooldown,
    Backoff,
    Busy,
    Incompatible,
    Ourselves,
    SeedRest,
}

macro_rules! by_form {
    ($($name:ident as $form:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $form::deserialize(deserializer)
            }
        }
    )*};
}

by_form!(
    Introduction as IntroductionForm,
    Remote as RemoteForm,
    EvictReason as EvictReasonForm,
    HoldReason as HoldReasonForm
);
