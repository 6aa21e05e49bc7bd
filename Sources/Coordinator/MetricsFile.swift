import Foundation
package import OperatorStatus
import ProcessSupport
package import StepProtocol

/// Why the metrics cannot be written.
package struct MetricsFileError: Error, CustomStringConvertible {
    var path: String
    var problem: String
    package var description: String { "\(path) cannot be written: \(problem)" }
}

/// `metrics.jsonl` in the run's output directory: a line of JSON for every committed step and every evaluation.
///
/// A line is written before its step is committed, so that a coordinator that dies leaves no gap. What was not committed, or
/// was gone back behind, is cut off when the step is done again: at the end there is one line for each step. A power cut may take
/// lines of steps that the shards have kept; in their place stand lines that say so.
///
/// Only the end of the file is read, and what a cut needs: a long run has millions of lines.
package struct MetricsFile {
    package let path: String
    private let file: LineFile
    private let syncer: MetricsSyncer
    private var handle: FileHandle { file.handle }
    /// Where the next line goes.
    private var end = 0
    /// The last step that has a line; before the first one the step that the run begins after.
    package private(set) var lastStep: Int
    /// Lines that the disk had no room for: they are written with the next one.
    private var unwritten = Data()
    private static let unwrittenLimit = 16 << 20
    /// Of a longer gap only the last steps have a line each.
    private static let gapLimit = 10_000
    /// Lines at the end that may be of something else than a step.
    private static let searchLimit = 10_000
    /// The keys of a line are sorted.
    static let evaluationBeginning = #"{"evaluation":"#

    /// Opens the file: as it was left if `isContinued`, else a new one.
    ///
    /// - Parameter origin: the step that the run begins after, -1 for the beginning.
    /// - Throws: `MetricsFileError` if the directory or the file cannot be made or read.
    package init(directory: String, isContinued: Bool, origin: Int = -1) throws {
        path = directory + "/metrics.jsonl"
        lastStep = origin
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            if !isContinued || !FileManager.default.fileExists(atPath: path) {
                try Data().write(to: URL(fileURLWithPath: path))
            }
            file = LineFile(handle: try FileHandle(forUpdating: URL(fileURLWithPath: path)).closedOnExecute)
            syncer = MetricsSyncer(descriptor: file.handle.fileDescriptor)
            // A line that was not written to its end.
            end = try file.lineEnd(before: try file.byteCount)
            try handle.truncate(atOffset: UInt64(end))
            var (position, count) = (end, 0)
            while count < Self.searchLimit, let line = try file.line(endingAt: position) {
                if let known = Self.step(line.bytes), known.isStep {
                    lastStep = max(lastStep, known.number)
                    break
                }
                (position, count) = (line.range.lowerBound, count + 1)
            }
        } catch {
            throw MetricsFileError(path: path, problem: SystemProblem.reason(error))
        }
    }

    /// Why lines are not on the disk, or empty.
    package var problem: String {
        if !unwritten.isEmpty { return "\(path) cannot be written: it is tried again with every step" }
        let problem = syncer.problem
        return problem.isEmpty ? "" : "\(path) cannot be synced: \(problem); it is tried again with every step"
    }

    /// Appends a committed step, over what an earlier try at it has left.
    ///
    /// - Parameter headVaries: whether the values of the head are written.
    /// - Returns: the steps before it whose lines a power cut has taken.
    @discardableResult
    package mutating func append(_ report: StepReport, headVaries: Bool = false) throws -> Range<Int> {
        let cut = Result { try self.cut(after: report.step - 1) }
        let gap = Result { try self.fill(upTo: report.step - 1) }
        lastStep = report.step
        try append(line: StepLine(report, headVaries: headVaries))
        try cut.get()
        return try gap.get()
    }

    /// Writes lines for the committed steps up to `step` that have none, and of which nothing more is known.
    ///
    /// - Returns: these steps.
    @discardableResult
    package mutating func fill(upTo step: Int) throws -> Range<Int> {
        guard lastStep < step else { return 0..<0 }
        let gap = lastStep + 1..<step + 1
        lastStep = step
        let first = max(gap.lowerBound, gap.upperBound - Self.gapLimit)
        if first > gap.lowerBound { try append(line: LostLine(step: first - 1, from: gap.lowerBound)) }
        for missing in first..<gap.upperBound { try append(line: LostLine(step: missing)) }
        return gap
    }

    /// Appends an evaluation.
    package mutating func append(_ evaluation: ClusterStatus.Evaluation) throws {
        try append(line: EvaluationLine(step: evaluation.step, evaluation: evaluation.name, values: evaluation.values))
    }

    /// Removes the lines of steps after `step`.
    ///
    /// Shortens the file in place, which also works on a full disk.
    package mutating func cut(after step: Int) throws {
        guard lastStep > step else { return }
        do {
            var later = Self.lines(unwritten).filter { line in Self.step(line).map { $0.number <= step } ?? false }
            let place = try self.end(ofLinesUpTo: step)
            // An evaluation comes after the line of its step, sooner or later.
            var kept: [Data] = []
            try file.forEachLine(in: place..<end, beginningWith: Self.evaluationBeginning) { line in
                if let known = Self.step(line), !known.isStep, known.number <= step { kept.append(line) }
            }
            later = kept + later
            try handle.truncate(atOffset: UInt64(place))
            syncer.cut(at: place)
            end = place
            unwritten = later.reduce(into: Data()) { $0 += $1 }
            lastStep = step
            if !unwritten.isEmpty { try flush() }
        } catch {
            throw MetricsFileError(path: path, problem: SystemProblem.reason(error))
        }
    }

    /// Where the last line of a step up to `step` ends. Lines of steps ascend.
    private func end(ofLinesUpTo step: Int) throws -> Int {
        // Before `low` all are of such steps, from `high` on none.
        var (low, high) = (0, end)
        while high - low > 64 << 10 {
            let middle = low + (high - low) / 2
            var line = try file.line(from: middle, isBeginning: false, before: high)
            guard let first = line?.range.lowerBound else {
                high = try file.lineEnd(before: middle)
                if high <= low { return low }
                continue
            }
            while let other = line, Self.step(other.bytes)?.isStep != true {
                line = try file.line(from: other.range.upperBound, isBeginning: true, before: high)
            }
            if let found = line, let known = Self.step(found.bytes), known.number <= step {
                low = found.range.upperBound
            } else {
                high = first
            }
        }
        var position = low
        while let line = try file.line(from: position, isBeginning: true, before: high) {
            position = line.range.upperBound
            guard let known = Self.step(line.bytes), known.isStep else { continue }
            if known.number > step { break }
            low = position
        }
        return low
    }

    /// Makes what was written survive a power cut, as far as the disk can.
    package func sync() { syncer.sync() }

    /// The lines with their newlines.
    private static func lines(_ data: Data) -> [Data] {
        data.split(separator: LineFile.newline, omittingEmptySubsequences: true).map { $0 + [LineFile.newline] }
    }

    private static func step(_ line: Data) -> (number: Int, isStep: Bool)? {
        struct Line: Decodable {
            var step: Int
            var evaluation: String?
        }
        guard let line = try? JSONDecoder().decode(Line.self, from: line) else { return nil }
        return (line.step, line.evaluation == nil)
    }

    private mutating func append(line: some Encodable) throws {
        do {
            unwritten += try StatusJSON.encode(line) + [LineFile.newline]
            if unwritten.count > Self.unwrittenLimit { unwritten.removeAll() }
            try flush()
        } catch {
            throw MetricsFileError(path: path, problem: SystemProblem.reason(error))
        }
    }

    private mutating func flush() throws {
        do {
            try handle.seek(toOffset: UInt64(end))
            try handle.write(contentsOf: unwritten)
        } catch {
            // Half a line would spoil the next one.
            try handle.truncate(atOffset: UInt64(end))
            throw error
        }
        syncer.wrote(unwritten, at: end)
        end += unwritten.count
        unwritten.removeAll()
    }

    private struct EvaluationLine: Encodable {
        var step: Int
        var evaluation: String
        var values: [String: Double]
    }

    /// In the place of a step, or of all from `from` to `step`, of which a power cut has left nothing.
    private struct LostLine: Encodable {
        var step: Int
        var from: Int?
        var lost = true
    }
}
