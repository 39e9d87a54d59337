//! A client of the directory in a program that is no node of it.

use std::sync::Arc;

use fabric_quic::Endpoint;
use naming::NodeId;
use naming_directory_client::Client;
use naming_directory_client::client::Settings;

use crate::{Link, LinkError, Place};

/// A client with a node id and a certificate of its own, and no replicas.
pub struct Remote {
    client: Arc<Client>,
    link: Link,
}

impl Remote {
    /// Asks the peers of `place` as `node`. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// If other nodes would not believe this one.
    pub fn open(node: NodeId, place: &Place) -> Result<Self, LinkError> {
        Self::with(node, place, Settings::new(place.peers.keys().copied()))
    }

    /// The same, with patience as `settings` say.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn with(node: NodeId, place: &Place, settings: Settings) -> Result<Self, LinkError> {
        let link = Link::open(node, Some(place))?;
        let client = Arc::new(Client::new(node, link.transport(), settings));
        link.deliver_to(&client);
        Ok(Self { client, link })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The network, to be told where more nodes are.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.link.endpoint()
    }
}
