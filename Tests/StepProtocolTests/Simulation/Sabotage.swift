/// A fault built into a shell, to show that the simulation finds it.
enum Sabotage: String, CaseIterable, Sendable {
    /// A repeated `update` is applied again.
    case appliesRepeatedUpdate
    /// An aborted attempt is not undone.
    case forgetsRollback
    /// Any rank's labels are good enough to sample, when a rank's request is repeated it is taken for another rank's.
    case swapsRanks
    /// A worker goes on with parameters of an attempt that was aborted.
    case keepsTentativeParameters
    /// The parameters that a worker asks for include an update that is not committed.
    case commitsWhenPrepared
    /// A shard answers that it is prepared and logs the step only when it is committed.
    case answersBeforeLogging
    /// A record that reached the disk in part is replayed.
    case replaysTornRecord
    /// A snapshot replaces the log before every shard has its steps durably.
    case installsSnapshotEarly
    /// A shard says that a step is skipped before a power cut could not undo it.
    case acknowledgesUnsynced
    /// A receiver applies a step to rows that have it already.
    case replaysOnRowsAhead
    /// A shard says that it holds copies that it has not completed.
    case handsOverIncompleteCopies
    /// A shard follows a plan's slice map although a later one came first.
    case followsOldMaps
    /// Requests of an attempt that was left are taken for the current one.
    case takesStaleForCurrent
    /// A shard keeps a change of the classes that was called off.
    case keepsClassesCalledOff
    /// A worker says that the results of the run are written, and they are not.
    case saysResultsAreWritten
    /// A restore that could not read its checkpoint leaves a shard with nothing, and the next try finds nothing to load.
    case forgetsWhatItRestores
    /// The coordinator's database does not keep which attempt of a step was committed.
    case forgetsWhichAttempt
    /// A worker that was taken for dead does not join again.
    case doesNotJoinAgain
    /// A worker with a new number speaks to shards under the old one.
    case keepsOldConnections
    /// A worker goes on with the classes that it had.
    case keepsOldClasses
    /// A shard that was taken for dead does not join again.
    case shardDoesNotJoinAgain
    /// A shard says in every hello what it held when its process began.
    case saysWhatItBeganWith
    /// A shard without slices takes part without the classes of the plan.
    case adoptsNoClasses
    /// A rank of a job answers another attempt of a step with other inputs.
    case inventsInputs
    /// Features that a rank sends in parts are kept in another order.
    case swapsParts
    /// A job says another step than that of the state it begins with.
    case saysAnotherStep
    /// A shard drops records of its log that a copy which it keeps needs.
    case dropsLogBehindCopies
    /// A shard does not log the gradients of the slices that it keeps copies of.
    case losesGradientsOfCopies
    /// A shard comes with an empty disk and the number that was its own.
    case comesBackEmpty
    /// A log is replayed with the values of the head that were told last, or those that the configuration begins with.
    case replaysWithValuesOfNow
    /// The coordinator announces what it has not written.
    case announcesBeforeWriting
}
