import Cluster
import Configuration
import Foundation
import MemberSupport
import Model
import ONNX
import Setup
import Tensors
import Verification

/// Writes what a run ends with: the backbone, its evaluation, and the ROC picture.
///
/// Each file is written beside its place and renamed, so that it is whole or the one before; writing all of them again does no harm.
struct ResultFiles: Sendable {
    let setup: RunSetup
    let evaluator: Evaluator?
    /// Where the figures are written as well, if anywhere.
    let summary: String?

    /// - Throws: `BackboneError` or `DatasetError` if the parameters cannot be evaluated, or what writing throws.
    func write(_ parameters: Tensor, after step: Int) throws -> WorkerService.Results {
        let output = setup.configuration.output
        try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
        let file = "\(output)/backbone.safetensors"
        try Self.replace(file) {
            try BackboneFile.write(parameters, layout: setup.layout, to: $0, metadata: ["step": "\(step)"])
        }
        var lines = ["backbone: \(file)"]
        if setup.layout.isImported, let graph = setup.layout.graph {
            // The names of its parameters alone do not tell what it computes.
            let model = "\(output)/backbone.onnx"
            try Self.replace(model) { try ONNXFile.write(graph, parameters: parameters, to: $0) }
            lines.append("network: \(model)")
        }
        var evaluations: [String: [String: Double]] = [:]
        if let evaluator {
            let reports = try evaluator.evaluate(parameters)
            let picture = "\(output)/roc.svg"
            try Self.replace(picture) { try ROCPlot.write(reports, to: $0) }
            for report in reports { evaluations[report.name] = report.figures }
            lines = reports.map(\.summary) + ["ROC: \(picture)"] + lines
        }
        if let summary {
            let text = lines.joined(separator: "\n") + "\n"
            try Self.replace(summary) { try Data(text.utf8).write(to: URL(fileURLWithPath: $0)) }
        }
        return WorkerService.Results(lines: lines, evaluations: evaluations)
    }

    /// Lets `write` make a file beside `path`, brings it to the disk and puts it in the place of `path`.
    private static func replace(_ path: String, _ write: (String) throws -> Void) throws {
        // Two workers may do it at once, if one was taken for dead.
        let temporary = "\(path).\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier).new"
        do {
            try write(temporary)
            let descriptor = open(temporary, O_RDWR | O_CLOEXEC)
            guard descriptor >= 0 else { throw problem(temporary) }
            defer { close(descriptor) }
            guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw problem(path) }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func problem(_ path: String) -> Refusal {
        Refusal(.internalError, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
}
