//! The messages of Kubernetes' `v4.channel.k8s.io` and `v5.channel.k8s.io`: a byte that names the channel, then its bytes.
//!
//! ```text
//! 0 standard input      client to server        3 status, once, at the end: a Kubernetes Status     server to client
//! 1 standard output     server to client        4 resize: {"Width": 80, "Height": 24}               client to server
//! 2 standard error      server to client      255 close of the channel in the next byte (v5 only)   client to server
//! ```
//!
//! Source: `k8s.io/apimachinery/pkg/util/remotecommand/constants.go`, `k8s.io/apiserver/pkg/util/proxy/websocket.go` of Kubernetes.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::json;

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const STATUS: u8 = 3;
pub const RESIZE: u8 = 4;
pub const CLOSE: u8 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    /// Cannot close a channel.
    V4,
    V5,
}

impl Subprotocol {
    /// Best first.
    pub const ALL: [Subprotocol; 2] = [Subprotocol::V5, Subprotocol::V4];

    pub fn as_str(self) -> &'static str {
        match self {
            Subprotocol::V4 => "v4.channel.k8s.io",
            Subprotocol::V5 => "v5.channel.k8s.io",
        }
    }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Input(Bytes),
    EndOfInput,
    /// Of the terminal, in characters.
    Resize {
        rows: u16,
        columns: u16,
    },
    /// Without a meaning, but no fault: an empty message, the close of a channel that has no end.
    Nothing,
}

/// What a client may not say. Short: it becomes the reason of a close frame, which has room for 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("channel {0} is not one that a client writes to")]
    Channel(u8),
    #[error("channel 255: expected the number of one channel, 0 to 4")]
    Close,
    #[error("channel 4: expected {{\"Width\": 80, \"Height\": 24}}, each 0 to 65535")]
    Resize,
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width", alias = "width")]
    width: u16,
    #[serde(rename = "Height", alias = "height")]
    height: u16,
}

/// One message of a client.
pub fn decode(version: Subprotocol, message: &Bytes) -> Result<Said, Fault> {
    let Some(&channel) = message.first() else { return Ok(Said::Nothing) };
    let data = message.slice(1..);
    match channel {
        STDIN if data.is_empty() => Ok(Said::Nothing),
        STDIN => Ok(Said::Input(data)),
        RESIZE if data.is_empty() => Ok(Said::Nothing),
        RESIZE => {
            let size: Size = serde_json::from_slice(&data).map_err(|_| Fault::Resize)?;
            Ok(Said::Resize { rows: size.height, columns: size.width })
        }
        CLOSE if version == Subprotocol::V5 => match data[..] {
            [STDIN] => Ok(Said::EndOfInput),
            [STDOUT..=RESIZE] => Ok(Said::Nothing),
            _ => Err(Fault::Close),
        },
        other => Err(Fault::Channel(other)),
    }
}

/// One message to a client.
pub fn encode(channel: u8, data: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(1 + data.len());
    message.push(channel);
    message.extend_from_slice(data);
    message.into()
}

/// The status of a process that ended: a Kubernetes `Status`, the exit code among its causes.
pub fn exited(exit_code: i32, signal: Option<i32>) -> Bytes {
    if exit_code == 0 {
        return status(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}));
    }
    let mut causes = vec![json!({"reason": "ExitCode", "message": exit_code.to_string()})];
    causes.extend(signal.map(|signal| json!({"reason": "Signal", "message": crate::model::signal::name(signal)})));
    status(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: {exit_code}"), "details": {"causes": causes},
    }))
}

/// The status of a session that broke off.
pub fn failed(message: &str) -> Bytes {
    status(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500,
    }))
}

fn status(status: &serde_json::Value) -> Bytes {
    encode(STATUS, status.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(bytes: &[u8]) -> Result<Said, Fault> {
        decode(Subprotocol::V5, &Bytes::copy_from_slice(bytes))
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            for version in Subprotocol::ALL {
                if let Err(fault) = decode(version, &Bytes::copy_from_slice(&bytes)) {
                    prop_assert!(fault.to_string().len() <= 123);
                }
            }
        }

        #[test]
        fn input_comes_as_it_was_sent(bytes in proptest::collection::vec(any::<u8>(), 1..5000)) {
            prop_assert_eq!(said(&encode(STDIN, &bytes)), Ok(Said::Input(bytes.into())));
        }

        #[test]
        fn sizes_are_read(rows: u16, columns: u16) {
            let size = json!({"Width": columns, "Height": rows}).to_string();
            prop_assert_eq!(said(&encode(RESIZE, size.as_bytes())), Ok(Said::Resize { rows, columns }));
        }

        #[test]
        fn output_keeps_its_channel(channel in 0u8..=4, bytes: Vec<u8>) {
            let message = encode(channel, &bytes);
            prop_assert_eq!((message[0], &message[1..]), (channel, &bytes[..]));
        }
    }

    #[test]
    fn a_close_is_known_to_v5_alone() {
        assert_eq!(said(&[255, 0]), Ok(Said::EndOfInput));
        assert_eq!(said(&[255, 4]), Ok(Said::Nothing));
        for bad in [&[255][..], &[255, 5], &[255, 0, 0]] {
            assert_eq!(said(bad), Err(Fault::Close), "{bad:?}");
        }
        assert_eq!(decode(Subprotocol::V4, &Bytes::from_static(&[255, 0])), Err(Fault::Channel(255)));
    }

    #[test]
    fn what_only_the_server_says_is_refused() {
        for channel in [1, 2, 3, 5, 254] {
            assert_eq!(said(&[channel, b'x']), Err(Fault::Channel(channel)));
        }
        for size in ["{}", "80x24", r#"{"Width": -1, "Height": 1}"#, r#"{"Width": 65536, "Height": 1}"#] {
            assert_eq!(said(&encode(RESIZE, size.as_bytes())), Err(Fault::Resize), "{size}");
        }
    }

    #[test]
    fn a_status_is_what_kubernetes_clients_read() {
        let read = |bytes: Bytes| {
            assert_eq!(bytes[0], STATUS);
            serde_json::from_slice::<serde_json::Value>(&bytes[1..]).unwrap()
        };
        assert_eq!(read(exited(0, None))["status"], "Success");
        let status = read(exited(137, Some(9)));
        assert_eq!((&status["status"], &status["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "137"}));
        assert_eq!(status["details"]["causes"][1], json!({"reason": "Signal", "message": "SIGKILL"}));
        assert_eq!(read(failed("gone"))["reason"], "InternalError");
    }
}
