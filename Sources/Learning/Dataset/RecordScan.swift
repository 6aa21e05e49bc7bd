/// Walks through a record file and reads the start of every record: labels, and which records are images.
///
/// The walk finds every record, whatever the index says; the index gives keys, and tells where to go on after damage.
struct RecordScan {
    private static let headByteCount = 256

    let file: RecordFile
    let classCount: Int
    private(set) var problems: ProblemList
    private(set) var keys: [UInt64] = []
    private(set) var offsets: [Int] = []
    private(set) var labels: [Int32] = []
    /// Images that the index does not name, and where the first of them is.
    private var unnamed = (count: 0, first: 0)

    init(file: RecordFile, classCount: Int, policy: BadSamplePolicy) {
        self.file = file
        self.classCount = classCount
        problems = ProblemList(policy: policy)
    }

    /// - Parameter index: ascending by offset; nil if there is no index.
    /// - Throws: `DatasetError` for the first bad record, or an index that names part of the records, if those are fatal.
    mutating func run(index: [RecordIndex.Entry]?, indexPath: String) throws(DatasetError) {
        let entries = index ?? []
        keys.reserveCapacity(entries.count)
        offsets.reserveCapacity(entries.count)
        labels.reserveCapacity(entries.count)
        var cursor = 0
        var position = 0
        var number = 0
        while position < file.byteCount {
            while cursor < entries.count, entries[cursor].offset < position {
                // Another key for a record that was read already, or not the start of one.
                if cursor == 0 || entries[cursor].offset != entries[cursor - 1].offset {
                    try problems.report(misplaced(entries[cursor], indexPath))
                }
                cursor += 1
            }
            let isNamed = cursor < entries.count && entries[cursor].offset == position
            let key = isNamed ? entries[cursor].key : nil
            if isNamed { cursor += 1 }
            do throws(DatasetError) {
                let record = try file.record(at: position, limit: Self.headByteCount)
                let before = labels.count
                try read(record.contents, at: position, key: key, number: number)
                if index != nil && !isNamed && labels.count > before {
                    if unnamed.count == 0 { unnamed.first = position }
                    unnamed.count += 1
                }
                position = record.next
            } catch {
                try problems.report(error.at(Int(clamping: key ?? UInt64(number)), path: file.path))
                // The index knows where the next one begins; without it that is looked for.
                var next = entries[cursor...].first { $0.offset > position }?.offset
                if next == nil { next = try file.nextRecord(after: position) }
                guard let next else { break }
                position = next
            }
            number += 1
        }
        for entry in entries[cursor...] { try problems.report(misplaced(entry, indexPath)) }
        try checkIndex(indexPath)
        try order()
    }

    /// Takes the record if it is an image. Problems of its contents are reported here: they do not end the walk.
    private mutating func read(
        _ head: [UInt8], at position: Int, key: UInt64?, number: Int
    ) throws(DatasetError) {
        var contents = head
        // Enough for the header, a few labels and a first byte of image; all of it only where there are many labels.
        if contents.count == Self.headByteCount && ImageRecord.imageStart(contents) >= contents.count {
            contents = try file.record(at: position).contents
        }
        var name = key ?? UInt64(number)
        do throws(DatasetError) {
            let record = try ImageRecord(contents)
            name = key ?? record.id
            if record.imageStart == contents.count { return }
            let label = Int32(try record.label(classCount: classCount))
            labels.append(label)
            keys.append(name)
            offsets.append(position)
        } catch {
            try problems.report(error.at(Int(clamping: name), path: file.path))
        }
    }

    private func misplaced(_ entry: RecordIndex.Entry, _ path: String) -> DatasetError {
        let isBehind = entry.offset >= file.byteCount
        return DatasetError(
            isBehind ? .truncatedRecord : .malformedRecord, path: path, index: Int(clamping: entry.key),
            "key \(entry.key) is at offset \(entry.offset), "
                + (isBehind ? "behind the end of the file of \(file.byteCount) bytes" : "where no record begins"))
    }

    private mutating func checkIndex(_ path: String) throws(DatasetError) {
        guard unnamed.count > 0 else { return }
        try problems.mend(
            DatasetError(
                .unlikely, path: path,
                "names only \(labels.count - unnamed.count) of the \(labels.count) images (the first that is missing is at offset \(unnamed.first) of \(file.path)): was it cut? The others were read too; to train on a part, choose classes in the configuration"
            ))
    }

    /// Ascending by key; by position if keys repeat, which then are numbers of positions.
    private mutating func order() throws(DatasetError) {
        var isAscending = true
        for index in keys.indices.dropFirst() where keys[index] <= keys[index - 1] { isAscending = false }
        if isAscending { return }
        let order = keys.indices.sorted { (keys[$0], offsets[$0]) < (keys[$1], offsets[$1]) }
        for (a, b) in zip(order, order.dropFirst()) where keys[a] == keys[b] {
            problems.report.note(
                "\(file.path): key \(keys[a]) occurs twice (offsets \(offsets[a]), \(offsets[b])): the images are taken in the order of the file, and numbered from 0"
            )
            keys = keys.indices.map(UInt64.init)
            return
        }
        (keys, offsets, labels) = (order.map { keys[$0] }, order.map { offsets[$0] }, order.map { labels[$0] })
    }
}
