extension ClusterStatus {
    /// A job with a network of its own.
    public struct Job: Codable, Sendable {
        /// 16 hexadecimal digits.
        public var id: String
        /// The step that it began after, -1 for the beginning of the run.
        public var since: Int
        public var worldSize: Int
        /// Ranks that are not there, ascending.
        public var missingRanks: [Int]

        /// In words: `2 ranks since step 42, lost: rank 1`.
        public var summary: String {
            let ranks = "\(worldSize) \(worldSize == 1 ? "rank" : "ranks") since step \(since + 1)"
            return missingRanks.isEmpty
                ? ranks : ranks + ", lost: rank \(missingRanks.map(String.init).joined(separator: ", "))"
        }

        public init(id: String, since: Int, worldSize: Int, missingRanks: [Int]) {
            self.id = id
            self.since = since
            self.worldSize = worldSize
            self.missingRanks = missingRanks
        }
    }
}
