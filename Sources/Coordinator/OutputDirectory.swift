import Foundation
import Logging
import ProcessSupport

/// Why a run's output directory cannot be used.
struct OutputDirectoryError: Error, CustomStringConvertible {
    var description: String
}

/// The output directory of a run: of one coordinator at a time, and never of two runs.
final class OutputDirectory {
    /// What a run writes under a name that another run would use too; earlier versions wrote `roc.png`.
    private static let results = ["metrics.jsonl", "backbone.safetensors", "backbone.onnx", "roc.svg", "roc.png"]
    private let descriptor: Int32

    /// Makes the directory if need be, and takes it for this process.
    ///
    /// - Parameters:
    ///   - isContinued: whether the run has begun before. The results of another run are moved aside.
    ///   - patience: how long the coordinator that this one has taken over from is given to go, if it has the same directory. One that hangs
    ///     keeps nobody from going on: it decides nothing any more, and writes nothing. Nil: there was none.
    /// - Throws: `OutputDirectoryError` if it cannot be made, or another coordinator writes there.
    init(_ path: String, isContinued: Bool, patience: Double? = nil, log: Logger) throws {
        do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
            throw OutputDirectoryError(
                description: "the output directory \(path) cannot be made: \(SystemProblem.reason(error))")
        }
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        // File systems that lock no directories let everyone in.
        let end = Date(timeIntervalSinceNow: patience ?? 0)
        while descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            if patience != nil {
                if Date() < end {
                    Thread.sleep(forTimeInterval: 0.1)
                    continue
                }
                log.warning("the coordinator before this one still has \(path) open: going on without it")
                break
            }
            throw OutputDirectoryError(
                description:
                    "the output directory \(path) is that of another coordinator that runs: end that one, or name another directory (output)"
            )
        }
        if !isContinued { try Self.moveAside(path, log) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func moveAside(_ path: String, _ log: Logger) throws {
        let manager = FileManager.default
        let found = results.filter { name in
            let attributes = try? manager.attributesOfItem(atPath: "\(path)/\(name)")
            // A directory of such a name is no result: that it is in the way is said when the file is to be written.
            return attributes?[.type] as? FileAttributeType == .typeRegular && attributes?[.size] as? Int ?? 0 > 0
        }
        guard !found.isEmpty else { return }
        var number = 1
        while manager.fileExists(atPath: "\(path)/earlier-\(number)") { number += 1 }
        let aside = "\(path)/earlier-\(number)"
        do {
            try manager.createDirectory(atPath: aside, withIntermediateDirectories: false)
            for name in found { try manager.moveItem(atPath: "\(path)/\(name)", toPath: "\(aside)/\(name)") }
        } catch {
            throw OutputDirectoryError(
                description:
                    "\(path) has results of an earlier run, which cannot be moved to \(aside): \(SystemProblem.reason(error))"
            )
        }
        log.warning("\(path) has results of an earlier run: \(found.joined(separator: ", ")) moved to \(aside)")
    }
}
