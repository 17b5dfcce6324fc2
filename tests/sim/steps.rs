//! Steps of a `multi` in the plain model: all of them, or none.

use quorate::namespace::acl::Rights;
use quorate::namespace::command::{Expect, HandleMode, Refusal, Step, StepDone};

use super::model::{Asker, Model};

impl Model {
    pub fn multi(&mut self, (session, who): Asker<'_>, steps: &[Step]) -> Result<Vec<StepDone>, Refusal> {
        let instances = self.instances;
        let mut results = Vec::new();
        for (index, step) in (0..).zip(steps) {
            match self.step((session, who), step) {
                Ok(result) => results.push(result),
                Err(cause) => {
                    self.tree.undo();
                    self.instances = instances;
                    return Err(Refusal::Aborted { index, cause: Box::new(cause) });
                }
            }
        }
        Ok(results)
    }

    fn step(&mut self, (session, who): Asker<'_>, step: &Step) -> Result<StepDone, Refusal> {
        self.eyes(who).admit_step(step)?;
        let created = |(path, stat)| StepDone::Created { path, stat };
        match step {
            Step::Check { path, expect } => {
                let hidden = self.eyes(who).hides(path, Rights::READ)?;
                match expect {
                    Expect::Absent if hidden => Ok(StepDone::Checked),
                    _ if hidden => Err(Refusal::NoNode { path: path.clone() }),
                    _ => self.check(path, *expect).map(|()| StepDone::Checked),
                }
            }
            Step::Create { path, data, lifetime, sequential } => {
                self.create(session, path, Some(data), (*lifetime, *sequential), None).map(created)
            }
            Step::CreateWithAcl { path, data, lifetime, sequential, acl } => {
                let acl = Some(self.settled_for(path, *sequential, acl, who)?);
                self.create(session, path, Some(data), (*lifetime, *sequential), acl).map(created)
            }
            Step::Set { path, data, expect } => self.set(path, data, *expect).map(|stat| StepDone::Set { stat }),
            Step::SetAcl { path, acl, expect } => {
                self.set_acl(who, path, acl.as_ref(), *expect).map(|stat| StepDone::AclSet { stat })
            }
            Step::Delete { path, expect } => self.delete(path, *expect).map(|()| StepDone::Deleted),
            Step::CheckLock { sequencer } => self.check_lock(sequencer, who).map(|()| StepDone::Checked),
            Step::CheckHandle { handle } => self.opened(handle, HandleMode::NONE).map(|_| StepDone::Checked),
            Step::Append { path, records, end } => {
                self.append(path, records, *end).map(|(first, end)| StepDone::Appended { first, end })
            }
            Step::Get { path } => {
                let hidden = self.eyes(who).hides(path, Rights::READ)?;
                let node = self.tree.get(path).filter(|_| !hidden);
                if node.is_some_and(|node| node.log.is_some()) {
                    return Err(Refusal::IsLog { path: path.clone() });
                }
                Ok(StepDone::Got { node: node.map(|node| (node.data.clone(), node.stat())) })
            }
        }
    }
}
