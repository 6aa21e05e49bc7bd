import Dataset
import Foundation
import TestFiles
import Testing
import Verification

private func folder() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (name, value) in [("A/A_0001.pgm", 1), ("A/A_0002.pgm", 2), ("B_C_0001.pgm", 3), ("B_C/B_C_0012.pgm", 4)] {
        _ = try folder.write(pgm(UInt8(value)), to: "images/" + name)
    }
    return folder
}

private func load(_ list: String, _ folder: TemporaryFolder, missing: BadSamplePolicy = .fatal) throws
    -> VerificationSet
{
    let path = try folder.write(Array(list.utf8), to: "pairs.txt")
    return try VerificationSet(pairsPath: path, imagesIn: folder.path + "/images", imageShape: gray2, missing: missing)
}

struct PairListTests {
    @Test func lfwFormat() throws {
        let folder = try folder()
        let set = try load("2\t1\nA\t1\t2\nA\t1\tB_C\t1\nB_C\t1\t12\nB_C\t12\tA\t2\n", folder)
        #expect(set.pairs.map(\.same) == [true, false, true, false] && set.pairs.map(\.fold) == [0, 0, 1, 1])
        #expect(
            try set.pairs.map { [try set.pixels(of: $0.first)[0], try set.pixels(of: $0.second)[0]] } == [
                [1, 2], [1, 3], [3, 4], [4, 2],
            ])
        #expect(set.images.sampleCount == 4)
    }

    @Test func commaSeparatedFormat() throws {
        let folder = try folder()
        let set = try load("fold,a,b,same\n0,A_0001.pgm,A_0002.pgm,1\n3,A_0002.pgm,B_C_0012.pgm,0\n", folder)
        #expect(set.pairs.map(\.fold) == [0, 3] && set.pairs.map(\.same) == [true, false])
    }

    @Test func missingImagesAreFatalOrLeftOut() throws {
        let folder = try folder()
        let list = "1\t1\nA\t1\t2\nA\t1\tD\t1\n"
        let error = try #require(throws: DatasetError.self) { try load(list, folder) }
        #expect(error.message.contains("line 3") && error.message.contains("D_0001"))
        let set = try load(list, folder, missing: .skip)
        #expect(set.pairs.count == 1 && set.problems.count == 1)
        #expect(throws: DatasetError.self) {
            try load("fold,a,b,same\n0,../x.pgm,A_0001.pgm,1\n", folder, missing: .skip)
        }
    }

    @Test(arguments: [
        "", "hello\n", "1\t2\nA\t1\t2\n", "1\t1\nA\t1\t2\nA\t1\t2\t3\t4\n", "1\t1\nA\tx\t2\nA\t1\tB_C\t1\n",
        "fold,a,b,same\n0,a,b\n",
        "fold,a,b,same\n0,A_0001.pgm,A_0002.pgm,yes\n", "99999999999999999999\t1\n", "fold,a,b,same\n",
    ])
    func malformedListsAreRefused(list: String) throws {
        let folder = try folder()
        #expect(throws: DatasetError.self) { try load(list, folder) }
    }

    @Test(.enabled(if: dataDirectory != nil, "set DATA_DIR to the folder with lfw_gray112"))
    func officialListIsRead() throws {
        let folder = try folder()
        let path = try #require(dataDirectory) + "/lfw_gray112/pairs.txt"
        // No image is here, but every line is understood: the only complaint is that.
        let error = try #require(throws: DatasetError.self) {
            try VerificationSet(pairsPath: path, imagesIn: folder.path + "/images", imageShape: gray2, missing: .skip)
        }
        #expect(error.code == .noSamples)
    }
}
