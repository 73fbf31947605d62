import SQLiteLibrary
import Support

typealias Program = SQLite

/// A table of accounts in a database file: filled in one transaction, indexed, and then asked and changed.
///
/// The database is told not to wait for the disk (`synchronous = OFF`): that would be the host's disk natively and RAM in a guest.
struct SQLite: Workload {
    static var name: StaticString { "sqlite" }
    static var summary: StaticString { "SQLite (libsqlite3): insert, index, query and update a table in a file" }
    static var operation: StaticString { "row inserted or indexed, or statement" }
    static var options: StaticString {
        """
          --rows N        rows of the table (default 10000)
          --operations M  statements of the query mix a round (default 2000)

        """
    }

    private static let regions: UInt64 = 32
    private static let phaseNames: [StaticString] = ["insert", "index", "query"]
    /// Statements of the query mix in one transaction.
    private static let batch = 100
    /// Every tenth statement changes a row, every tenth sums a range.
    private static let mix: UInt64 = 10

    private let rows: Int
    private let operations: Int
    private var database: OpaquePointer?
    private var path = Text()
    private var select: OpaquePointer?
    private var sum: OpaquePointer?
    private var update: OpaquePointer?
    /// The same table by other means: keys are a permutation of the row numbers.
    private let keys: UnsafeMutablePointer<Int64>
    private let amounts: UnsafeMutablePointer<Int64>
    private let rowOfKey: UnsafeMutablePointer<Int>
    private var queries = Random(seed: 31)
    private var answers = Checksum()
    private var expectedAnswers = Checksum()

    init(_ arguments: inout Arguments) {
        rows = Int(arguments.number("--rows", default: 10_000, in: 100...10_000_000))
        operations = Int(arguments.number("--operations", default: 2000, in: 1...100_000_000))
        keys = .allocate(capacity: rows)
        amounts = .allocate(capacity: rows)
        rowOfKey = .allocate(capacity: rows)
        var random = Random(seed: 30)
        for row in 0..<rows { keys[row] = Int64(row) }
        for row in stride(from: rows - 1, to: 0, by: -1) {
            let other = Int(random.next(below: UInt64(row + 1)))
            (keys[row], keys[other]) = (keys[other], keys[row])
        }
        for row in 0..<rows {
            rowOfKey[Int(keys[row])] = row
            amounts[row] = Int64(random.next(below: 1_000_000))
        }
        openDatabase()
    }

    var phases: Int { 3 }
    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(Self.phaseNames[phase]) }

    mutating func prepare(phase: Int) {
        switch phase {
        case 0:
            execute("DROP TABLE IF EXISTS account")
            execute(
                "CREATE TABLE account (id INTEGER PRIMARY KEY, key INTEGER, region INTEGER, name TEXT, amount INTEGER)")
        case 1: execute("DROP INDEX IF EXISTS account_key")
        default: break
        }
        answers = Checksum()
        expectedAnswers = Checksum()
    }

    mutating func run(phase: Int) -> UInt64 {
        switch phase {
        case 0:
            insertAll()
            return UInt64(rows)
        case 1:
            execute("CREATE INDEX account_key ON account (key)")
            return UInt64(rows)
        default:
            ask()
            return UInt64(operations)
        }
    }

    /// What the table holds now and what the statements answered, against the arrays.
    mutating func outcome(phase: Int) -> Outcome {
        var got = answers
        var expected = expectedAnswers
        let statement = prepared(
            "SELECT count(*), sum(key * amount), sum(length(name)), count(DISTINCT region) FROM account")
        guard sqlite3_step(statement) == SQLITE_ROW else { stop() }
        for column in 0..<4 { got.mix(UInt64(bitPattern: sqlite3_column_int64(statement, Int32(column)))) }
        sqlite3_finalize(statement)
        var products: Int64 = 0
        var letters = 0
        for row in 0..<rows {
            products &+= keys[row] &* amounts[row]
            letters += Self.accountName(row).bytes.count
        }
        expected.mix(UInt64(rows))
        expected.mix(UInt64(bitPattern: products))
        expected.mix(UInt64(letters))
        expected.mix(min(Self.regions, UInt64(rows)))
        return Outcome(got: got.value, expected: expected.value)
    }

    mutating func finish() {
        for statement in [select, sum, update] { sqlite3_finalize(statement) }
        sqlite3_close(database)
        path.bytes.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { _ = unlink($0.baseAddress!) }
        }
    }

    // MARK: The timed work

    private func insertAll() {
        let statement = prepared("INSERT INTO account VALUES (?1, ?2, ?3, ?4, ?5)")
        execute("BEGIN")
        for row in 0..<rows {
            sqlite3_bind_int64(statement, 1, Int64(row))
            sqlite3_bind_int64(statement, 2, keys[row])
            sqlite3_bind_int64(statement, 3, Int64(UInt64(row) % Self.regions))
            Self.accountName(row).bytes.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) {
                    // SQLITE_TRANSIENT, -1: SQLite makes a copy of its own.
                    _ = sqlite3_bind_text(
                        statement, 4, $0.baseAddress, Int32(bytes.count),
                        unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                }
            }
            sqlite3_bind_int64(statement, 5, amounts[row])
            guard sqlite3_step(statement) == SQLITE_DONE else { stop() }
            sqlite3_reset(statement)
        }
        execute("COMMIT")
        sqlite3_finalize(statement)
    }

    /// Point queries through the index, sums over a hundred keys, and updates.
    private mutating func ask() {
        if select == nil {
            select = prepared("SELECT amount FROM account WHERE key = ?1")
            sum = prepared("SELECT sum(amount), count(*) FROM account WHERE key BETWEEN ?1 AND ?1 + 99")
            update = prepared("UPDATE account SET amount = amount + ?2 WHERE key = ?1")
        }
        for operation in 0..<operations {
            if operation % Self.batch == 0 { execute(operation == 0 ? "BEGIN" : "COMMIT; BEGIN") }
            let key = Int64(queries.next(below: UInt64(rows)))
            switch queries.next(below: Self.mix) {
            case 0: change(key, by: Int64(operation))
            case 1: sumRange(from: key)
            default:
                sqlite3_bind_int64(select, 1, key)
                guard sqlite3_step(select) == SQLITE_ROW else { stop() }
                answers.mix(UInt64(bitPattern: sqlite3_column_int64(select, 0)))
                sqlite3_reset(select)
                expectedAnswers.mix(UInt64(bitPattern: amounts[rowOfKey[Int(key)]]))
            }
        }
        execute("COMMIT")
    }

    private mutating func change(_ key: Int64, by amount: Int64) {
        sqlite3_bind_int64(update, 1, key)
        sqlite3_bind_int64(update, 2, amount)
        guard sqlite3_step(update) == SQLITE_DONE else { stop() }
        sqlite3_reset(update)
        amounts[rowOfKey[Int(key)]] += amount
    }

    private mutating func sumRange(from key: Int64) {
        sqlite3_bind_int64(sum, 1, key)
        guard sqlite3_step(sum) == SQLITE_ROW else { stop() }
        answers.mix(UInt64(bitPattern: sqlite3_column_int64(sum, 0)))
        answers.mix(UInt64(bitPattern: sqlite3_column_int64(sum, 1)))
        sqlite3_reset(sum)
        var total: Int64 = 0
        let end = min(Int(key) + 100, rows)
        for other in Int(key)..<end { total += amounts[rowOfKey[other]] }
        expectedAnswers.mix(UInt64(bitPattern: total))
        expectedAnswers.mix(UInt64(end - Int(key)))
    }

    // MARK: Helpers

    /// "account 123": what the name column holds.
    private static func accountName(_ row: Int) -> Text {
        var text = Text()
        text.append("account ")
        text.append(UInt64(row))
        return text
    }

    /// In /tmp, under a name of this process's own.
    private mutating func openDatabase() {
        path.append("/tmp/vbench-sqlite-")
        path.append(UInt64(getpid()))
        path.append(".db")
        path.terminate()
        let result = path.bytes.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { sqlite3_open($0.baseAddress, &database) }
        }
        guard result == SQLITE_OK else { stop() }
        execute("PRAGMA synchronous = OFF")
    }

    private func execute(_ text: StaticString) {
        guard sqlite3_exec(database, text.cString, nil, nil, nil) == SQLITE_OK else { stop() }
    }

    private func prepared(_ text: StaticString) -> OpaquePointer? {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v2(database, text.cString, -1, &statement, nil) == SQLITE_OK else { stop() }
        return statement
    }

    /// Says what SQLite complains of, and ends the program.
    private func stop() -> Never {
        var message = Text()
        message.append("a statement of SQLite (")
        if let reason = sqlite3_errmsg(database) { message.append(cString: reason) }
        message.append(")")
        systemError(message, Int64(sqlite3_system_errno(database)))
    }
}
