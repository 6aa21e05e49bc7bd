/// What a run leaves to its job: a group of workers from outside that have samples and a network of their own.
public struct JobPolicy: Sendable, Hashable {
    /// Whether the job chooses the learning rate of every step, and not the run's schedule.
    public var setsRate: Bool
    /// Whether a job may begin anew with any step that the cluster can go back to, without an operator's word.
    public var goesBackFreely: Bool

    public init(setsRate: Bool, goesBackFreely: Bool) {
        self.setsRate = setsRate
        self.goesBackFreely = goesBackFreely
    }
}
