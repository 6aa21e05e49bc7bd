internal import Cluster
internal import Foundation
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

extension LogRecord {
    /// The gradient of the dense slices: the last tensor of a step's record.
    var denseGradient: Tensor? {
        switch header.kind {
        case .features, .rows: tensors.count >= 4 ? tensors[3] : nil
        case .jobFeatures: tensors.count >= 6 ? tensors[5] : nil
        case .skip, .classes: nil
        }
    }

    /// Whether the record is that of a step, and not of a change of the classes.
    var isStep: Bool { header.kind != .classes }

    var id: StepID { StepID(term: header.term, step: header.step, attempt: header.attempt) }

    /// What a receiver of `slice` needs of the record: only the tensors that change it.
    ///
    /// - Throws: `HeadError` or `BackboneError` if the record is not about the slice.
    func restricted(to slice: SliceName, dense: DenseShard) throws -> LogRecord {
        var part = LogRecord(header: header)
        part.header.slices = []
        part.header.denseSlices = []
        switch (header.kind, slice) {
        case (.skip, _), (.classes, _): break
        case (_, .centers(let number)):
            part.header.slices = [number]
            part.tensors = try StepInputs(self).restricted(to: [number]).tensors
        case (_, .dense(let number)):
            guard let gradient = denseGradient else {
                throw HeadError(.malformed, "the record of step \(header.step) has no dense gradient")
            }
            part.header.denseSlices = [number]
            part.tensors = [try dense.restricted(gradient, of: header.denseSlices, to: [number])]
        }
        return part
    }
}

extension LogRecord.Header {
    /// The header as it travels: JSON.
    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        // Numbers and strings: encoding them cannot fail.
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// - Throws: `HeadError` if the text is no header.
    init(json: String) throws {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        do { self = try decoder.decode(Self.self, from: Data(json.utf8)) } catch {
            throw HeadError(.malformed, "another shard sent a log record with a header that cannot be read: \(error)")
        }
    }
}
