public import Cluster

/// What a checkpoint is: the cut of a whole cluster at one step, in files that any number of shards can load.
///
/// Written last, so that a directory with a manifest has all its files.
public struct CheckpointManifest: Sendable, Hashable, Codable {
    public static let currentFormat = 1
    /// The folder of a checkpoint for what a job keeps.
    public static let jobFolder = "job"

    /// One file: a slice.
    public struct File: Sendable, Hashable, Codable {
        /// Relative to the checkpoint's directory.
        public var path: String
        public var slice: SliceName
        public var bytes: Int
        /// XXH64 of the header (8 bytes of length, then JSON), continued over pieces of 4 MiB of every tensor in the
        /// file's order: the hash so far is the seed of the next piece's. 16 hex digits.
        public var hash: String

        public init(path: String, slice: SliceName, bytes: Int, hash: String) {
            self.path = path
            self.slice = slice
            self.bytes = bytes
            self.hash = hash
        }
    }

    /// A file that the job which trains wrote beside the slices, in the folder `job`.
    public struct JobFile: Sendable, Hashable, Codable {
        /// Relative to the checkpoint's directory: `job/…`.
        public var name: String
        public var bytes: Int
        /// XXH64, continued over pieces of 4 MiB as in `File.hash`; missing until the file was copied once.
        public var hash: String?

        public init(name: String, bytes: Int, hash: String? = nil) {
            self.name = name
            self.bytes = bytes
            self.hash = hash
        }

        /// Whether it is in the folder of jobs, and nowhere else.
        public var isInItsFolder: Bool {
            let parts = name.split(separator: "/", omittingEmptySubsequences: false)
            return parts.count > 1 && parts[0] == CheckpointManifest.jobFolder
                && parts.dropFirst().allSatisfy { !["", ".", ".."].contains($0) }
        }
    }

    public var formatVersion: Int
    /// The last step that it contains, -1 for the state before the first.
    public var step: Int
    public var classVersion: Int
    /// The class operations so far, as JSON.
    public var operations: String
    /// The operator's changes of the learning rate, by step; missing if there were none.
    public var rates: [LearningRateChange]?
    /// The operator's changes of the head's values, by step; missing if there were none.
    public var head: [HeadChange]?
    /// The run's configuration, as YAML.
    public var configuration: String
    public var fingerprint: String
    public var sliceCount: Int
    public var denseSliceCount: Int
    /// Classes at the beginning of the run, before any operation.
    public var classCount: Int
    public var embeddingSize: Int
    /// How the class centers are kept.
    public var format: TableFormat
    /// How the backbone is kept; missing if as `TableFormat.f32`.
    public var denseFormat: TableFormat?
    /// When it was taken, in ISO 8601.
    public var created: String
    public var files: [File]
    /// The name of the past of the run that it is of (`Past.name`); missing in those of earlier versions.
    public var past: UInt64?
    /// What a job with a network of its own keeps of the same step; missing without one.
    public var jobFiles: [JobFile]?

    public init(
        step: Int, classVersion: Int, operations: String, rates: [LearningRateChange] = [], head: [HeadChange] = [],
        configuration: String, fingerprint: String, sliceCount: Int,
        denseSliceCount: Int, classCount: Int, embeddingSize: Int, format: TableFormat = .f32,
        denseFormat: TableFormat = .f32, created: String,
        files: [File], past: UInt64? = nil, jobFiles: [JobFile]? = nil
    ) {
        formatVersion = Self.currentFormat
        self.step = step
        self.classVersion = classVersion
        self.operations = operations
        self.rates = rates.isEmpty ? nil : rates
        self.head = head.isEmpty ? nil : head
        self.configuration = configuration
        self.fingerprint = fingerprint
        self.sliceCount = sliceCount
        self.denseSliceCount = denseSliceCount
        self.classCount = classCount
        self.embeddingSize = embeddingSize
        self.format = format
        self.denseFormat = denseFormat == .f32 ? nil : denseFormat
        self.created = created
        self.files = files
        self.past = past
        self.jobFiles = jobFiles
    }

    /// How a slice is kept.
    public func format(of slice: SliceName) -> TableFormat { slice.isDense ? denseFormat ?? .f32 : format }

    static let fileName = "manifest.json"

    /// Writes the manifest of the complete checkpoint in `directory`.
    ///
    /// - Throws: `CenterStoreError`: `.layout` if a slice is missing, named twice or outside the directory;
    ///   `.diskFull` or `.io` if it cannot be written.
    public func write(to directory: String) throws(CenterStoreError) {
        if let problem { throw CenterStoreError(.layout, "checkpoint \(directory): \(problem)") }
        try ChecksummedJSON.write(self, to: "\(directory)/\(Self.fileName)")
    }

    /// Bytes of one file at most: sums over all files cannot overflow.
    private static let byteLimit = 1 << 44
    private static let jobFileLimit = 1 << 16

    /// Why nobody can have written this, nil if somebody can: what passes can be added up and multiplied.
    var problem: String? {
        func isStep(_ step: Int?) -> Bool { step.map { (-1..<1 << 40).contains($0) } ?? true }
        guard isStep(step) else { return "it is of step \(step)" }
        guard (0..<1 << 40).contains(classVersion), (1...1 << 40).contains(classCount) else {
            return "it has \(classCount) classes after \(classVersion) operations"
        }
        guard (1...1 << 20).contains(embeddingSize) else { return "its embeddings have \(embeddingSize) numbers" }
        guard format.isPossible, denseFormat?.isPossible ?? true else {
            return "nothing is kept as \(format.isPossible ? denseFormat ?? format : format)"
        }
        guard ((rates ?? []).map(\.fromStep) + (head ?? []).map(\.fromStep)).allSatisfy(isStep) else {
            return "it has a change from a step that cannot be"
        }
        let jobFiles = jobFiles ?? []
        guard jobFiles.count <= Self.jobFileLimit else { return "it has \(jobFiles.count) files of a job" }
        if let bytes = (files.map(\.bytes) + jobFiles.map(\.bytes)).first(where: { !(0...Self.byteLimit).contains($0) })
        {
            return "it has a file of \(bytes) bytes"
        }
        return filesProblem
    }

    /// What is wrong with the list of files, nil if every slice has one.
    private var filesProblem: String? {
        guard (1...SliceLayout.sliceLimit).contains(sliceCount), (1...SliceLayout.sliceLimit).contains(denseSliceCount)
        else { return "it cannot have \(sliceCount) and \(denseSliceCount) slices" }
        var missing = Set((0..<sliceCount).map(SliceName.centers) + (0..<denseSliceCount).map(SliceName.dense))
        for file in files {
            guard file.path == Self.path(of: file.slice) else {
                return "\(file.slice) cannot be in the file \(file.path)"
            }
            guard missing.remove(file.slice) != nil else { return "\(file.slice) is there twice, or should not be" }
        }
        return missing.min().map { "\($0) is missing, of \(missing.count) in all" }
    }

    /// `slices/slice-00005.safetensors`, `dense/dense-00003.safetensors`.
    public static func path(of slice: SliceName) -> String {
        let digits = String(slice.number)
        let number = String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        return slice.isDense ? "dense/dense-\(number).safetensors" : "slices/slice-\(number).safetensors"
    }
}
