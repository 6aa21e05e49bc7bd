public import Cluster

extension WorkerSession {
    /// What a coordinator's welcome says.
    public struct Welcome: Sendable, Hashable {
        /// The cluster's name.
        public var cluster: String
        /// The number that the worker has from now on.
        public var member: MemberID
        /// The last committed step of the run, -1 before the first.
        public var committed: Int
        /// Whether the run has a checkpoint, or began with one.
        public var hasCheckpoint: Bool

        public init(cluster: String, member: MemberID, committed: Int = -1, hasCheckpoint: Bool = false) {
            self.cluster = cluster
            self.member = member
            self.committed = committed
            self.hasCheckpoint = hasCheckpoint
        }
    }

    /// What a hello says of the past of this process.
    public struct Introduction: Sendable, Hashable {
        /// The cluster that it is a member of; empty before the first welcome.
        public var cluster = ""
        /// The number that it had.
        public var previousNumber: Int?
        /// The newest term that it knows from a plan, and that plan's coordinator; 0: none.
        public var term = 0
        public var coordinator: UInt64 = 0
    }

    /// What happens to a worker.
    public enum Event: Sendable {
        /// The coordinator has let it in, for the first time or again.
        case welcomed(Welcome)
        /// The data are open and the network is built, or why not: the answer to `prepare`.
        case prepared(problem: String?)
        /// The coordinator does not let this process in.
        case turnedAway
        /// The coordinator has refused a message.
        case refused(RefusalCode)
        /// A plan, and what in it does not fit the run.
        case plan(Plan, misfit: String? = nil)
        /// The coordinator has told the operations on the classes; so many there are.
        case classes(version: Int)
        /// The operations that `adoptClasses` asks for are none.
        case classesDoNotFit(String)
        /// Something that the machine of the steps must hear.
        case step(Machine.Event)
        /// The process is told to end.
        case stop(reason: String)
    }

    /// What the shell must do, in this order. When it has to answer an action with an event it does so at once.
    public enum Action: Sendable {
        /// What the machine of the steps asks for.
        case step(Machine.Action)
        /// Say hello to the coordinator again, until there is a welcome.
        case greet
        /// The next hello says what `introduction` says now.
        case introduce
        /// Open the data and build the network; answer with `prepared`.
        case prepare
        /// Give a sign of life now, and then at regular intervals.
        case beat
        /// Close the connections to all shards: the next plan opens them again.
        case disconnect
        /// This plan is followed from now on: connect to its shards.
        case follow(Plan)
        /// Ask the coordinator for its operations on the classes.
        case askForClasses
        /// Compute with the classes after so many operations, from this step on.
        case adoptClasses(version: Int, StepID)
        /// A line for whoever reads the log.
        case say(EventLevel, String)
        /// Tell the coordinator that this worker goes, and why.
        case leave(MemberID, reason: String, exitCode: Int32)
        /// End the process.
        case end(exitCode: Int32)
    }
}
