import Foundation
import StepProtocol
import Wire

/// Why the metrics cannot be written.
struct MetricsFileError: Error, CustomStringConvertible {
    var path: String
    var problem: String
    var description: String { "\(path) cannot be written: \(problem)" }
}

/// `metrics.jsonl` in the run's output directory: a line of JSON for every committed step and every evaluation.
///
/// A line is written before its step is committed, so that a coordinator that dies leaves no gap. What was not committed, or
/// was gone back behind, is cut off when the step is done again: at the end there is one line for each step.
struct MetricsFile {
    let path: String
    private let handle: FileHandle
    /// The last step that has a line, -1 if none has.
    private var lastStep = -1
    /// Lines that the disk had no room for: they are written with the next one.
    private var unwritten = Data()
    private static let unwrittenLimit = 16 << 20

    /// Opens the file: as it was left if `isContinued`, else a new one.
    ///
    /// - Throws: `MetricsFileError` if the directory or the file cannot be made or read.
    init(directory: String, isContinued: Bool) throws {
        path = directory + "/metrics.jsonl"
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            if !isContinued || !FileManager.default.fileExists(atPath: path) {
                try Data().write(to: URL(fileURLWithPath: path))
            }
            handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            // A line that was not written to its end.
            let whole = data.lastIndex(of: Self.newline).map { $0 + 1 } ?? 0
            try handle.truncate(atOffset: UInt64(whole))
            lastStep =
                Self.lines(data[..<whole]).reversed().lazy.compactMap(Self.step).first { $0.isStep }?.number ?? -1
            try handle.seekToEnd()
        } catch {
            throw MetricsFileError(path: path, problem: error.localizedDescription)
        }
    }

    /// Appends a committed step, over what an earlier try at it has left.
    mutating func append(_ report: StepReport) throws {
        let cut = Result { try self.cut(after: report.step - 1) }
        lastStep = report.step
        try append(line: StepLine(report))
        try cut.get()
    }

    /// Appends an evaluation.
    mutating func append(_ evaluation: Evaluation) throws {
        try append(line: EvaluationLine(step: evaluation.step, evaluation: evaluation.name, values: evaluation.values))
    }

    /// Removes the lines of steps after `step`.
    ///
    /// Shortens the file in place, which also works on a full disk.
    mutating func cut(after step: Int) throws {
        guard lastStep > step else { return }
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            // Lines of steps ascend; an evaluation comes after the line of its step, sooner or later.
            var kept = Self.lines(data)[...]
            var later = Self.lines(unwritten).filter { line in Self.step(line).map { $0.number <= step } ?? false }
            while let line = kept.last {
                let known = Self.step(line)
                if let known, known.isStep, known.number <= step { break }
                kept.removeLast()
                if let known, known.number <= step { later.insert(line, at: 0) }
            }
            let length = kept.reduce(0) { $0 + $1.count }
            try handle.truncate(atOffset: UInt64(length))
            try handle.seek(toOffset: UInt64(length))
            unwritten = later.reduce(into: Data()) { $0 += $1 }
            lastStep = step
            if !unwritten.isEmpty { try flush() }
        } catch {
            throw MetricsFileError(path: path, problem: error.localizedDescription)
        }
    }

    /// Makes what was written survive a power cut, as far as the disk can.
    func sync() { _ = fdatasync(handle.fileDescriptor) }

    private static let newline: UInt8 = 0x0A

    /// The lines with their newlines.
    private static func lines(_ data: Data) -> [Data] {
        data.split(separator: newline, omittingEmptySubsequences: true).map { $0 + [newline] }
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
            unwritten += try StatusJSON.encode(line) + [Self.newline]
            if unwritten.count > Self.unwrittenLimit { unwritten.removeAll() }
            try flush()
        } catch {
            throw MetricsFileError(path: path, problem: error.localizedDescription)
        }
    }

    private mutating func flush() throws {
        let end = try handle.offset()
        do { try handle.write(contentsOf: unwritten) } catch {
            // Half a line would spoil the next one.
            try handle.truncate(atOffset: end)
            try handle.seek(toOffset: end)
            throw error
        }
        unwritten.removeAll()
    }

    private struct EvaluationLine: Encodable {
        var step: Int
        var evaluation: String
        var values: [String: Double]
    }
}
