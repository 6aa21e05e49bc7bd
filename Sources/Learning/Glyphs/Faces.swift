internal import Dataset
internal import Determinism
internal import Foundation

/// Font faces, each worked on by one thread at a time.
struct Faces {
    let fonts: [GlyphFont]
    let parallel: ParallelBlocks

    init(_ fonts: [GlyphFont], _ parallel: ParallelBlocks) {
        self.fonts = fonts
        self.parallel = parallel
    }

    /// One value per face, faces in parallel.
    ///
    /// - Throws: the error of the first face that has one.
    func map<Value>(_ body: @Sendable (GlyphFont) throws(DatasetError) -> Value) throws(DatasetError) -> [Value] {
        let results = FaceResults<Value>()
        let fonts = fonts
        parallel.forEach(fonts.count) { block, _ in
            let result: Result<Value, DatasetError>
            do throws(DatasetError) { result = .success(try body(fonts[block])) } catch { result = .failure(error) }
            results.set(block, result)
        }
        var values: [Value] = []
        for block in fonts.indices {
            switch results[block] {
            case .success(let value): values.append(value)
            case .failure(let error): throw error
            case nil: throw DatasetError(.missingFonts, path: fonts[block].path, "was not rendered")
            }
        }
        return values
    }
}

/// Results of blocks that finish in any order.
private final class FaceResults<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [Int: Result<Value, DatasetError>] = [:]

    func set(_ block: Int, _ value: Result<Value, DatasetError>) { lock.withLock { values[block] = value } }
    subscript(block: Int) -> Result<Value, DatasetError>? { lock.withLock { values[block] } }
}
