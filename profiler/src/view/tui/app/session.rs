//! Model, state and snapshot together: what a message does to all three. Still pure.

use crate::batch::Batch;
use crate::model::Model;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::app::{App, Effect, Frozen, Msg, update};

/// One sitting in front of the screen.
pub struct Session {
    /// The state of the screen.
    pub app: App,
    /// What is drawn.
    pub view: View,
    latest: Model,
    /// The model at the moment when the screen was frozen: every screen can be visited in that moment.
    held: Option<Box<Model>>,
    /// The snapshot is older than the model. A replay that seeks learns thousands of batches between two drawings.
    stale: bool,
}

impl Session {
    /// Starts with what a model knows so far.
    #[must_use]
    pub fn new(model: Model, app: App) -> Self {
        let view = View::new(&model, &app, model.time.until);
        Self { app, view, latest: model, held: None, stale: false }
    }

    /// The model that is shown.
    #[must_use]
    pub fn shown(&self) -> &Model {
        self.held.as_deref().unwrap_or(&self.latest)
    }

    /// The model learns a batch. [`Self::refresh`] shows it.
    pub fn learn(&mut self, batch: &Batch) {
        self.latest.apply(batch);
        self.app.silent_ticks = 0;
        self.stale = true;
    }

    /// The replay starts over: what follows rebuilds the past.
    pub fn rewind(&mut self, blank: &Model) {
        self.latest = blank.clone();
        self.stale = true;
    }

    /// Takes a new snapshot if there is something new.
    pub fn refresh(&mut self) {
        if self.stale {
            self.renew();
        }
    }

    /// Changes the state by a message and takes a new snapshot. Effects that concern only the session are done.
    pub fn handle(&mut self, msg: Msg) -> Vec<Effect> {
        self.refresh();
        // Nothing of a tick shows in the snapshot.
        let renews = !matches!(msg, Msg::Tick | Msg::Notice(_));
        let model = self.held.as_deref().unwrap_or(&self.latest);
        let mut effects = update(&mut self.app, &self.view, model, msg);
        effects.retain(|effect| match effect {
            Effect::SetFrozen(frozen) => {
                self.held = (*frozen == Frozen::Yes).then(|| Box::new(self.latest.clone()));
                false
            }
            _ => true,
        });
        if renews {
            self.renew();
        }
        effects
    }

    /// The latest model, when the sitting is over.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.latest
    }

    fn renew(&mut self) {
        self.view = View::new(self.shown(), &self.app, self.latest.time.until);
        self.app.settle(&self.view);
        self.stale = false;
    }
}
