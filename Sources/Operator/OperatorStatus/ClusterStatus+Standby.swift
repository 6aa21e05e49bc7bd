extension Double {
    /// Seconds for people, rounded up, whatever a coordinator says.
    var wholeSeconds: Int { Int(Swift.max(0, Swift.min(rounded(.up), 1e15))) }
}

extension ClusterStatus {
    /// The standby of the coordinator.
    public struct Standby: Codable, Sendable {
        public var endpoint: String
        /// Whether it has every decision that has taken effect.
        public var isInStep: Bool
        /// Seconds since it was heard.
        public var age: Double
        /// Messages that wait until it has what was decided.
        public var waiting: Int
        /// Whether it is silent, and shards are asked whether the coordinator goes on alone.
        public var isGivenUp: Bool

        /// In words: `tcp://b:7400 has every decision`.
        public var summary: String {
            if isGivenUp {
                return
                    "\(endpoint) is silent for \(age.wholeSeconds) s: decisions wait until it answers, or a majority of the shards agrees to go on without it"
            }
            return isInStep
                ? "\(endpoint) has every decision" : "\(endpoint) is getting what was decided; \(waiting) messages wait"
        }

        public init(endpoint: String, isInStep: Bool, age: Double, waiting: Int, isGivenUp: Bool) {
            (self.endpoint, self.isInStep, self.age) = (endpoint, isInStep, age)
            (self.waiting, self.isGivenUp) = (waiting, isGivenUp)
        }
    }
}
