public import Configuration
internal import Dataset

/// What looks wrong about a run's data, and what was probably meant.
public struct DataFinding: Sendable, Hashable, CustomStringConvertible {
    /// Whether a run on these data cannot be meant.
    public var isFatal: Bool
    public var message: String

    public var description: String { message }
}

extension TrainingData {
    /// What cannot be meant, and what is unlikely, about the classes of the samples.
    ///
    /// - Parameter configured: the number of classes that the configuration gives, 0 if it is that of the data. Who gives it
    ///   knows that there are more classes than the data show.
    public func findings(configured: Int) -> [DataFinding] {
        var findings: [DataFinding] = []
        let hints = opening.hints.map { "; " + $0 }.joined()
        let counts = ImageCounts(self)
        if counts.classes == 1 {
            let what =
                labelCount == 1
                ? "there is only one class (\(sampleCount) samples)"
                : "all \(sampleCount) samples have the same label, \(counts.first), of \(labelCount)"
            findings.append(
                DataFinding(
                    isFatal: configured == 0,
                    message: what + ": there is nothing to tell apart, and the loss says nothing" + hints))
        } else if counts.largest == 1 {
            findings.append(
                DataFinding(
                    isFatal: false,
                    message:
                        "none of the \(counts.classes) classes has a second sample: was a number of the image taken for its label, or is a folder one level too deep?"
                        + hints))
        }
        if configured == 0, labelCount / 4 > sampleCount {
            let isFatal = labelCount > 1_000_000 && labelCount / 1000 > sampleCount
            findings.append(
                DataFinding(
                    isFatal: isFatal,
                    message:
                        "there are \(labelCount) classes but \(sampleCount) samples, of \(counts.classes) of them: labels should be 0, 1, 2, … without gaps, and `property` should fit; data.classes says that so many are meant"
                ))
        }
        return findings
    }
}

/// How many samples the classes have. In memory that the samples bound, whatever the labels are.
private struct ImageCounts {
    var classes = 0
    /// The most samples that a class has, 2 for more.
    var largest = 0
    var first = 0

    init(_ data: TrainingData) {
        var seen: Set<Int32> = []
        first = data.sampleCount > 0 ? data.label(of: 0) : 0
        for sample in 0..<data.sampleCount {
            largest = seen.insert(Int32(truncatingIfNeeded: data.label(of: sample))).inserted ? max(largest, 1) : 2
        }
        classes = seen.count
    }
}

extension RunConfiguration {
    /// This configuration with classes, samples and fingerprint of its data, which is opened unless all are given. An external run has
    /// none to open.
    ///
    /// - Parameter say: gets a sentence for everything that was left out or mended, or is unlikely.
    /// - Throws: `DatasetError` if the data cannot be read; `ConfigurationError` if they cannot be meant.
    public func countingData(_ say: (String) -> Void = { _ in }) throws -> RunConfiguration {
        if isExternal || data.classes > 0 && data.samples > 0 && !data.fingerprint.isEmpty { return self }
        let opened = try TrainingData(self)
        opened.opening.lines.forEach(say)
        let findings = opened.findings(configured: data.classes)
        if let fatal = findings.first(where: \.isFatal) {
            throw ConfigurationError(key: "data.path", problem: "\(data.path): \(fatal)")
        }
        findings.map(\.message).forEach(say)
        var resolved = self
        resolved.data.classes = opened.classCount
        resolved.data.samples = opened.sampleCount
        // One that is given was checked: it may be that of an earlier version.
        if data.fingerprint.isEmpty { resolved.data.fingerprint = opened.fingerprint }
        return resolved
    }
}
