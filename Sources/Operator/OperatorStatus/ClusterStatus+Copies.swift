extension ClusterStatus {
    /// Second copies of slices, and what the loss of a shard would cost now.
    public struct Copies: Codable, Sendable {
        /// Copies that there should be of each slice (`cluster.copies`).
        public var wanted: Int
        /// Slices there are, and those with a second copy that counts.
        public var slices: Int
        public var complete: Int
        /// Steps that would be done again on the oldest copy, and about how many seconds that takes; nil without a copy or a step.
        public var stepsToReplay: Int?
        public var secondsToReplay: Double?
        /// Why no slice can have a second copy, nil if slices can.
        public var problem: String?

        /// In words: `48 of 48 slices have a second copy, 120 steps to replay after a loss (about 31 s)`.
        public var summary: String {
            var text = "\(complete) of \(slices) slices have a second copy"
            if let problem { text += ": \(problem)" }
            guard let stepsToReplay else { return text }
            text += ", \(stepsToReplay) \(stepsToReplay == 1 ? "step" : "steps") to replay after a loss"
            if let secondsToReplay { text += " (at most \(secondsToReplay.wholeSeconds) s)" }
            return text
        }

        public init(
            wanted: Int, slices: Int, complete: Int, stepsToReplay: Int?, secondsToReplay: Double?, problem: String?
        ) {
            self.wanted = wanted
            self.slices = slices
            self.complete = complete
            self.stepsToReplay = stepsToReplay
            self.secondsToReplay = secondsToReplay
            self.problem = problem
        }
    }
}
