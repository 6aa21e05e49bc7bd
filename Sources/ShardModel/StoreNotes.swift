internal import Cluster
internal import Foundation
internal import Model
internal import ParameterStore
internal import Tensors

/// What the model keeps in the manifest of its store.
struct StoreNotes: Codable, Hashable {
    /// The operations on the classes that every source of the owned slices has seen.
    var operations: [ClassOperation] = []
    var lastTask = 0
    /// The past that the state is of (`Past.name`); missing in the directories of earlier versions.
    var past: UInt64?

    init() {}

    /// - Throws: `CenterStoreError` if the text is none that `text` made.
    init(_ text: String) throws(CenterStoreError) {
        if text.isEmpty { return }
        do { self = try JSONDecoder().decode(Self.self, from: Data(text.utf8)) } catch {
            throw CenterStoreError(.damaged, "the manifest has notes that cannot be read: \(error)")
        }
    }

    var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // Numbers and strings: encoding them cannot fail.
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

extension ClassOperation {
    /// - Throws: `HeadError` if the text is no operation.
    init(json: String) throws {
        do { self = try JSONDecoder().decode(Self.self, from: Data(json.utf8)) } catch {
            throw HeadError(.malformed, "an operation on the classes cannot be read: \(error)")
        }
    }

    var json: String {
        // Numbers and strings: encoding them cannot fail.
        (try? JSONEncoder().encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
