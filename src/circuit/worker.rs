//! A worker: one thread, its instances of all operators, and the passes that drive them.
//!
//! A *pass* runs every node that its seeds can reach, once, in topological order, and makes one version. A step is one
//! pass, and more passes while some node has more output than one step may hold. An epoch is its steps, then for each
//! stratum of outputs a pass in which they emit their epoch's consolidated delta.
//!
//! With several workers all of them run the same passes over the same nodes: which nodes can be reached is known
//! without looking at rows, and whether a node has more is put to a vote. A failing operator is reported and gives
//! nothing; the pass goes on, so that no peer waits for a row that won't come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, Sender};

use super::exchange::Mesh;
use super::graph::{NodeId, NodeSpec};
use super::plan::{ExchangeTo, OpSpec};
use crate::delta::Delta;
use crate::error::{Error, Result, guarded};
use crate::operators::arrange::{Arrange, Arranged};
use crate::operators::build::{build, build_join};
use crate::operators::output::Output;
use crate::operators::{Operator, Progress, RowErrors, Step};
use crate::state::{Arrangement, Deletes, Spec, Version};

/// A view being filled has a circuit of its own until it joins the live one.
pub type FillId = u64;

/// How to make a node's instance.
#[derive(Clone)]
pub struct NodeSetup {
    pub id: NodeId,
    pub spec: NodeSpec,
    pub inputs: Vec<NodeId>,
    pub schema: SchemaRef,
    pub stratum: usize,
    pub append_only: bool,
}

/// One epoch's work for one worker.
pub struct EpochWork {
    /// For each step, this worker's share of the input.
    pub steps: Vec<Vec<(NodeId, Vec<Delta>)>>,
    /// For each step, every node that gets input on any worker.
    pub seeds: Arc<Vec<Vec<NodeId>>>,
    pub oldest: Version,
    pub now: i64,
}

/// One pass of a fill: this worker's share of a slice.
pub struct FillWork {
    pub fill: FillId,
    pub input: Vec<(NodeId, Vec<Delta>)>,
    /// The same on all workers; the first pass runs every node, so that those with an answer to no input give it.
    pub seeds: Arc<Vec<NodeId>>,
    pub first: bool,
    pub now: i64,
}

/// How a filled view joins the live circuit; what is left of its fill waits for its end.
#[derive(Clone)]
pub struct InstallWork {
    pub fill: FillId,
    /// The view's nodes that stay, with their live numbers and inputs, in order.
    pub keep: Vec<(NodeId, NodeId, Vec<NodeId>, usize)>,
    /// All rows it holds are visible from this version on.
    pub version: Version,
}

pub enum Command {
    /// Nodes for the live circuit (`fill` None) or a new circuit for a fill.
    Build {
        fill: Option<FillId>,
        nodes: Vec<NodeSetup>,
        reply: Sender<Result<Arrangements>>,
    },
    Epoch {
        work: EpochWork,
        reply: Sender<PassReport>,
    },
    Fill {
        work: FillWork,
        reply: Sender<PassReport>,
    },
    Install {
        work: InstallWork,
        reply: Sender<Result<()>>,
    },
    Remove {
        nodes: Vec<NodeId>,
        reply: Sender<Result<()>>,
    },
    Abandon {
        fill: FillId,
        reply: Sender<Result<()>>,
    },
    /// Dead rows are given back; answers with the version in which the oldest one left died.
    GiveBack {
        oldest: Version,
        reply: Sender<Result<Option<Version>>>,
    },
    Measure {
        reply: Sender<Measured>,
    },
}

/// Bytes of state on one worker.
pub struct Measured {
    pub live: Vec<(NodeId, usize)>,
    /// Views that are being filled.
    pub fills: usize,
}

pub type Arrangements = Vec<(NodeId, Arc<Arrangement>)>;

/// What came of an epoch or a fill's pass on one worker.
#[derive(Default)]
pub struct PassReport {
    /// The newest version.
    pub version: Version,
    /// A fill: some node has more to give; call again before feeding on.
    pub more: bool,
    pub errors: BTreeMap<NodeId, RowErrors>,
    /// Nodes that failed: their views can't be trusted any more.
    pub failed: Vec<(NodeId, Error)>,
}

pub struct Worker {
    mesh: Mesh,
    live: Circuit,
    fills: HashMap<FillId, Circuit>,
}

/// One circuit's instances.
#[derive(Default)]
struct Circuit {
    nodes: BTreeMap<NodeId, Node>,
    version: Version,
    /// Fill only: nodes that have more to give.
    pending: Vec<NodeId>,
    /// Fill only: the version before the pass since which some node has always had more to give, and may still read.
    reading: Version,
}

struct Node {
    spec: NodeSpec,
    role: Role,
    inputs: Vec<NodeId>,
    readers: Vec<NodeId>,
    stratum: usize,
    schema: SchemaRef,
    append_only: bool,
    /// Its rows, for those that read them: joins, and readers outside.
    arranged: Option<Arranged>,
    /// Input from outside, for the next pass.
    fed: Vec<Delta>,
    /// Output of the current pass.
    out: Vec<Delta>,
}

enum Role {
    /// Passes on what is fed, or its input.
    Pass,
    /// As `Pass`, the first columns only.
    Columns(Vec<usize>),
    Exchange(ExchangeTo),
    Operator(Box<dyn Operator>),
    Output(Output),
    /// Taken out while it runs.
    Idle,
}

/// What all nodes of a pass are told.
struct PassContext {
    seeds: Vec<NodeId>,
    /// Outputs among the seeds end their epoch.
    end_of_epoch: bool,
    oldest: Version,
    now: i64,
}

impl Worker {
    pub fn new(mesh: Mesh) -> Worker {
        Worker { mesh, live: Circuit::default(), fills: HashMap::new() }
    }

    /// Works until the command channel closes.
    pub fn run(mut self, commands: Receiver<Command>) {
        for command in commands {
            // A reply nobody waits for any more is no failure of the worker's.
            match command {
                Command::Build { fill, nodes, reply } => drop(reply.send(guarded(|| self.build(fill, nodes)))),
                Command::Epoch { work, reply } => drop(reply.send(self.epoch(work))),
                Command::Fill { work, reply } => drop(reply.send(self.fill(work))),
                Command::Install { work, reply } => drop(reply.send(guarded(|| self.install(work)))),
                Command::Remove { nodes, reply } => {
                    self.live.remove(&nodes);
                    drop(reply.send(Ok(())));
                }
                Command::Abandon { fill, reply } => {
                    self.fills.remove(&fill);
                    drop(reply.send(Ok(())));
                }
                Command::GiveBack { oldest, reply } => drop(reply.send(guarded(|| self.live.give_back(oldest)))),
                Command::Measure { reply } => {
                    let fills = self.fills.values().flat_map(Circuit::measure).map(|(_, bytes)| bytes).sum();
                    drop(reply.send(Measured { live: self.live.measure(), fills }));
                }
            }
        }
    }

    fn build(&mut self, fill: Option<FillId>, nodes: Vec<NodeSetup>) -> Result<Arrangements> {
        let (worker, circuit) = match fill {
            None => (self.mesh.worker, &mut self.live),
            Some(fill) => (self.mesh.worker, self.fills.entry(fill).or_default()),
        };
        nodes.into_iter().try_for_each(|node| circuit.add(node, worker))?;
        Ok(circuit.nodes.iter().filter_map(|(id, node)| Some((*id, node.arranged.as_ref()?.rows.clone()))).collect())
    }

    fn epoch(&mut self, work: EpochWork) -> PassReport {
        let mut report = PassReport::default();
        let outcome = self.live.epoch(work, &self.mesh, &mut report);
        report.fail(outcome);
        report.version = self.live.version;
        report
    }

    fn fill(&mut self, work: FillWork) -> PassReport {
        let mut report = PassReport::default();
        let Some(circuit) = self.fills.get_mut(&work.fill) else {
            report.fail(Err(Error::internal("a slice for a fill that does not exist")));
            return report;
        };
        for (id, deltas) in work.input {
            circuit.feed(id, deltas);
        }
        let mut seeds = std::mem::take(&mut circuit.pending);
        let idle = seeds.is_empty();
        match work.first {
            true => seeds.extend(circuit.nodes.keys()),
            false => seeds.extend(work.seeds.iter()),
        }
        if idle {
            circuit.reading = circuit.version;
        }
        let context = PassContext { seeds, end_of_epoch: false, oldest: circuit.reading, now: work.now };
        match circuit.pass(&context, &self.mesh, &mut report) {
            Ok((more, _)) => circuit.pending = more,
            failure => report.fail(failure.map(|_| ())),
        }
        report.more = !circuit.pending.is_empty();
        report.version = circuit.version;
        report
    }

    fn install(&mut self, work: InstallWork) -> Result<()> {
        let filled = self.fills.entry(work.fill).or_default();
        for (private, id, inputs, stratum) in work.keep {
            let Some(mut node) = filled.nodes.remove(&private) else {
                return Err(Error::internal(format!("node {} is not in the fill", private.0)));
            };
            if let Some(arranged) = &node.arranged {
                arranged.rows.rebase(work.version)?;
            }
            (node.inputs, node.stratum, node.readers) = (inputs, stratum, Vec::new());
            let arranged: Vec<_> =
                node.inputs.iter().map(|input| self.live.nodes.get(input)?.arranged.clone()).collect();
            match &mut node.role {
                Role::Operator(operator) => operator.rearrange(&arranged),
                Role::Output(output) => output.join(),
                _ => {}
            }
            self.live.insert(id, node);
        }
        Ok(())
    }
}

impl PassReport {
    /// A failure of the pass itself, not of one node: nothing in it can be trusted.
    fn fail(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.failed.push((NodeId(u64::MAX), error));
        }
    }
}

impl Circuit {
    fn add(&mut self, setup: NodeSetup, worker: usize) -> Result<()> {
        let inputs: Vec<&Node> = setup.inputs.iter().filter_map(|input| self.nodes.get(input)).collect();
        let arrange = |arrange: Arrange| {
            let arranged = arrange.arranged();
            (Role::Operator(Box::new(arrange)), Some(arranged))
        };
        let schema = &setup.schema;
        let (role, arranged) = match &setup.spec {
            NodeSpec::Input => (Role::Pass, None),
            NodeSpec::Source { columns, .. } => (Role::Columns((0..*columns).collect()), None),
            NodeSpec::Table { key } => arrange(Arrange::with_spec(schema, key, Spec::new(Deletes::Key(key.clone())))?),
            NodeSpec::Output => {
                let deletes = if setup.append_only { Deletes::None } else { Deletes::Row };
                let rows = Arrangement::new(schema.clone(), Spec::new(deletes))?;
                (Role::Output(Output::new(rows.clone())), Some(Arranged::new(&rows, &[])?))
            }
            NodeSpec::Op(OpSpec::Exchange { to }) => (Role::Exchange(to.clone()), None),
            NodeSpec::Op(OpSpec::Arrange { key }) => arrange(Arrange::new(schema, key, setup.append_only)?),
            NodeSpec::Op(spec @ (OpSpec::Join { .. } | OpSpec::OuterJoin { .. } | OpSpec::SemiJoin { .. })) => {
                match (
                    inputs.first().and_then(|node| node.arranged.clone()),
                    inputs.get(1).and_then(|node| node.arranged.clone()),
                ) {
                    (Some(left), Some(right)) => (Role::Operator(build_join(spec, left, right, schema)?), None),
                    _ => return Err(Error::internal("a join whose inputs are not arranged")),
                }
            }
            NodeSpec::Op(spec) => {
                let schemas: Vec<SchemaRef> = inputs.iter().map(|node| node.schema.clone()).collect();
                let append_only: Vec<bool> = inputs.iter().map(|node| node.append_only).collect();
                (Role::Operator(build(spec, &schemas, schema, &append_only, worker)?), None)
            }
        };
        let node = Node {
            role,
            arranged,
            append_only: setup.append_only,
            spec: setup.spec,
            inputs: setup.inputs,
            readers: Vec::new(),
            stratum: setup.stratum,
            schema: setup.schema,
            fed: Vec::new(),
            out: Vec::new(),
        };
        self.insert(setup.id, node);
        Ok(())
    }

    fn insert(&mut self, id: NodeId, node: Node) {
        for input in &node.inputs {
            if let Some(input) = self.nodes.get_mut(input) {
                input.readers.push(id);
            }
        }
        self.nodes.insert(id, node);
    }

    fn remove(&mut self, gone: &[NodeId]) {
        for id in gone {
            self.nodes.remove(id);
        }
        let gone: BTreeSet<&NodeId> = gone.iter().collect();
        for node in self.nodes.values_mut() {
            node.readers.retain(|reader| !gone.contains(reader));
        }
    }

    fn feed(&mut self, id: NodeId, deltas: Vec<Delta>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.fed.extend(deltas.into_iter().filter(|delta| !delta.is_empty()));
        }
    }

    fn epoch(&mut self, work: EpochWork, mesh: &Mesh, report: &mut PassReport) -> Result<()> {
        let mut touched = BTreeSet::new();
        let (oldest, now) = (work.oldest, work.now);
        for (input, seeds) in work.steps.into_iter().zip(work.seeds.iter()) {
            for (id, deltas) in input {
                self.feed(id, deltas);
            }
            let context = PassContext { seeds: seeds.clone(), end_of_epoch: false, oldest, now };
            self.passes(context, mesh, report, &mut touched)?;
        }
        while let Some(stratum) = touched.iter().map(|(stratum, _)| *stratum).next() {
            let seeds = touched.extract_if((stratum, NodeId(0)).., |(other, _)| *other == stratum);
            let seeds = seeds.map(|(_, id)| id).collect();
            self.passes(PassContext { seeds, end_of_epoch: true, oldest, now }, mesh, report, &mut touched)?;
        }
        Ok(())
    }

    /// A pass, and more of them until no node has more to give.
    fn passes(
        &mut self,
        mut context: PassContext,
        mesh: &Mesh,
        report: &mut PassReport,
        touched: &mut BTreeSet<(usize, NodeId)>,
    ) -> Result<()> {
        loop {
            let (more, outputs) = self.pass(&context, mesh, report)?;
            touched.extend(outputs);
            if more.is_empty() {
                return Ok(());
            }
            context = PassContext { seeds: more, end_of_epoch: false, ..context };
        }
    }

    /// Runs what the seeds reach. Gives the nodes that have more, on any worker, and the outputs that were reached, by stratum.
    fn pass(
        &mut self,
        context: &PassContext,
        mesh: &Mesh,
        report: &mut PassReport,
    ) -> Result<(Vec<NodeId>, Vec<(usize, NodeId)>)> {
        let seeds: BTreeSet<NodeId> = context.seeds.iter().copied().collect();
        let active = self.reachable(&seeds, context.end_of_epoch);
        let before = self.version;
        self.version += 1;
        let mut more = Vec::new();
        for id in &active {
            let seed = seeds.contains(id);
            let mut errors = RowErrors::default();
            let mut step = Step {
                before,
                after: self.version,
                oldest: context.oldest,
                end_of_epoch: context.end_of_epoch && seed,
                now: context.now,
                out: &mut Vec::new(),
                errors: &mut errors,
            };
            match self.run_node(*id, seed, mesh, &mut step) {
                Ok(Progress::Done) => {}
                Ok(Progress::More) => more.push(*id),
                Err(error) => {
                    tracing::error!(node = id.0, error = %error, "an operator failed");
                    step.out.clear();
                    report.failed.push((*id, error));
                }
            }
            let out = std::mem::take(step.out);
            if !errors.is_empty() {
                report.errors.entry(*id).or_default().extend(errors);
            }
            if let Some(node) = self.nodes.get_mut(id) {
                node.out = out;
            }
        }
        let mut outputs = Vec::new();
        for id in &active {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            node.out.clear();
            if matches!(node.spec, NodeSpec::Output) && !(context.end_of_epoch && seeds.contains(id)) {
                outputs.push((node.stratum, *id));
            }
        }
        Ok((if mesh.workers == 1 { more } else { mesh.vote(more)? }, outputs))
    }

    /// Runs one node of a pass; its output is left in `step.out`.
    fn run_node(&mut self, id: NodeId, seed: bool, mesh: &Mesh, step: &mut Step) -> Result<Progress> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(Progress::Done) };
        let fed = std::mem::take(&mut node.fed);
        let mut role = std::mem::replace(&mut node.role, Role::Idle);
        let node = &self.nodes[&id];
        let mut inputs: Vec<&[Delta]> = Vec::with_capacity(node.inputs.len().max(1));
        inputs.extend(node.inputs.iter().map(|input| self.nodes.get(input).map_or(&[][..], |input| &input.out[..])));
        if inputs.is_empty() {
            inputs.push(&fed);
        }
        let outcome = guarded(|| match &mut role {
            Role::Idle => Ok(Progress::Done),
            Role::Pass => {
                step.out.extend_from_slice(inputs[0]);
                Ok(Progress::Done)
            }
            Role::Columns(columns) => inputs[0]
                .iter()
                .try_for_each(|delta| {
                    step.out.push(delta.project(columns)?);
                    Ok(())
                })
                .map(|()| Progress::Done),
            Role::Exchange(to) => mesh.exchange(id, to, inputs[0]).map(|deltas| {
                *step.out = deltas;
                Progress::Done
            }),
            Role::Output(output) if step.end_of_epoch => output.end_epoch(!node.readers.is_empty(), step),
            Role::Output(output) => output.append(inputs[0], step),
            Role::Operator(operator) => match seed || inputs.iter().any(|input| !input.is_empty()) {
                true => operator.step(&inputs, step),
                false => Ok(Progress::Done),
            },
        });
        step.out.retain(|delta| !delta.is_empty());
        if let Some(node) = self.nodes.get_mut(&id) {
            node.role = role;
        }
        outcome
    }

    /// The nodes a pass has to run. Rows do not pass an output before it ends its epoch.
    fn reachable(&self, seeds: &BTreeSet<NodeId>, end_of_epoch: bool) -> BTreeSet<NodeId> {
        let mut active = seeds.clone();
        let mut stack: Vec<NodeId> = seeds.iter().copied().collect();
        while let Some(id) = stack.pop() {
            let Some(node) = self.nodes.get(&id) else { continue };
            if matches!(node.spec, NodeSpec::Output) && !(end_of_epoch && seeds.contains(&id)) {
                continue;
            }
            stack.extend(node.readers.iter().filter(|reader| active.insert(**reader)));
        }
        active
    }

    fn give_back(&self, oldest: Version) -> Result<Option<Version>> {
        let mut left: Option<Version> = None;
        for arranged in self.nodes.values().filter_map(|node| node.arranged.as_ref()) {
            let dead = arranged.rows.give_back(oldest)?;
            left = [left, dead].into_iter().flatten().min();
        }
        Ok(left)
    }

    /// Bytes of state a node.
    fn measure(&self) -> Vec<(NodeId, usize)> {
        let bytes = |node: &Node| match (&node.arranged, &node.role) {
            (Some(arranged), _) => arranged.rows.state_bytes(),
            (None, Role::Operator(operator)) => operator.state_bytes(),
            _ => 0,
        };
        self.nodes.iter().map(|(id, node)| (*id, bytes(node))).filter(|(_, bytes)| *bytes > 0).collect()
    }
}
