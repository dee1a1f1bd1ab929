import assert from 'node:assert/strict'
import {explainFailure} from '../../../src/engines/mysql-family/errors.js'

/** Ends of logs of real servers: MySQL 9.7.4 and MariaDB 10.11.19, each made to fail in that way. */
const mysql = (severity: string, part: string, words: string): string =>
  `2026-11-23T19:41:14.211123Z 0 [${severity}] [MY-010119] [${part}] ${words}`
const maria = (severity: string, words: string): string => `2026-11-23  9:41:14 0 [${severity}] ${words}`

const cases: readonly (readonly [what: string, log: string, code: string, parameter?: string])[] = [
  [
    'a taken port',
    [
      mysql('ERROR', 'Server', "Can't start server: Bind on TCP/IP port: Address already in use"),
      mysql('ERROR', 'Server', 'Do you already have another mysqld server running on port: 38431 ?'),
      mysql('ERROR', 'Server', 'Aborting'),
    ].join('\n'),
    'PORT_IN_USE',
  ],
  [
    'a taken port (MariaDB)',
    [
      maria('ERROR', "Can't start server: Bind on TCP/IP port. Got error: 98: Address already in use"),
      maria('ERROR', 'Do you already have another server running on port: 43077 ?'),
      maria('ERROR', 'Aborting'),
    ].join('\n'),
    'PORT_IN_USE',
  ],
  ['an unknown variable', mysql('ERROR', 'Server', "unknown variable 'no-such_thing=1'."), 'INVALID_PARAMETER_VALUE', 'no_such_thing'],
  [
    'an unknown variable (MariaDB)',
    `${maria('ERROR', "/usr/sbin/mariadbd: unknown variable 'no_such_thing=1'")}\n${maria('ERROR', 'Aborting')}`,
    'INVALID_PARAMETER_VALUE',
    'no_such_thing',
  ],
  ['an unknown option', mysql('ERROR', 'Server', "unknown option '--skip-nothing'."), 'INVALID_PARAMETER_VALUE', 'skip_nothing'],
  [
    'a value that is no number',
    mysql('ERROR', 'Server', "Unknown suffix 'b' used for variable 'max_connections' (value '3banana')."),
    'INVALID_PARAMETER_VALUE',
    'max_connections',
  ],
  [
    'a value that is no number (MariaDB)',
    maria('ERROR', "Buffered error: Unknown suffix 'b' used for variable 'max_connections' (value '3banana'). Legal suffix characters are: K"),
    'INVALID_PARAMETER_VALUE',
    'max_connections',
  ],
  [
    'a wrong word',
    mysql('ERROR', 'Server', "/opt/a/bin/mysqld: Error while setting value 'SOMETIMES' to 'concurrent-insert'."),
    'INVALID_PARAMETER_VALUE',
    'concurrent_insert',
  ],
  [
    'an unknown time zone, after what is harmless, by the name of the variable',
    [
      mysql('ERROR', 'Server', 'Could not use /dev/stderr for logging (error 0 - Success). Turning logging off for the server process.'),
      mysql('ERROR', 'Server', "Fatal error: Illegal or unknown default time zone 'Mars/Olympus'"),
      mysql('ERROR', 'Server', 'Aborting'),
    ].join('\n'),
    'INVALID_PARAMETER_VALUE',
    'time_zone',
  ],
  ['an unknown character set', mysql('ERROR', 'Server', "Unknown character set: 'klingon'."), 'INVALID_PARAMETER_VALUE', 'character_set_server'],
  [
    'a collation of another character set',
    maria('ERROR', "COLLATION 'latin1_swedish_ci' is not valid for CHARACTER SET 'utf8mb4'"),
    'INVALID_PARAMETER_VALUE',
    'collation_server',
  ],
  [
    'a file that is none',
    'mysqld: [ERROR] Found option without preceding group in config file /c/my.cnf at line 1.\nmysqld: [ERROR] Fatal error in defaults handling. Program aborted!',
    'INVALID_PARAMETER_VALUE',
  ],
  [
    'a file that is not there',
    'mysqld: [ERROR] Failed to open required defaults file: /c/my.cnf\nmysqld: [ERROR] Fatal error in defaults handling. Program aborted!',
    'SERVER_START_FAILED',
  ],
  [
    'too little memory',
    [
      mysql('Warning', 'InnoDB', 'page_aligned_alloc mmap(17158144 bytes) failed; errno 12'),
      mysql('ERROR', 'InnoDB', 'Cannot allocate memory for the buffer pool'),
      mysql('ERROR', 'Server', 'Data Dictionary initialization failed.'),
    ].join('\n'),
    'INSUFFICIENT_MEMORY',
  ],
  ['too little memory (MariaDB)', maria('ERROR', 'InnoDB: Cannot map innodb_buffer_pool_size_max=204800m'), 'INSUFFICIENT_MEMORY'],
  [
    'a full disk',
    "mysqld: Error writing file '/d/auto.cnf' (OS errno 28 - No space left on device)\n" +
      mysql('ERROR', 'Server', "Initialization of the server's UUID failed because it could not be read from the auto.cnf file."),
    'DISK_FULL',
  ],
  [
    'a full disk (MariaDB)',
    maria('ERROR', 'mariadbd: Error writing file \'./ddl_recovery.log\' (Errcode: 28 "No space left on device")'),
    'DISK_FULL',
  ],
  ['a running twin', mysql('ERROR', 'InnoDB', 'Unable to lock ./ibdata1 error: 11'), 'SERVER_START_FAILED'],
  ['wrong permissions', mysql('ERROR', 'InnoDB', "The innodb_system data file 'ibdata1' must be writable"), 'SERVER_START_FAILED'],
  [
    'a key that cannot be read',
    [
      "SSL error: Unable to get private key from '/c/server.key'",
      maria('ERROR', 'Failed to setup SSL'),
      maria('ERROR', 'Aborting'),
    ].join('\n'),
    'SERVER_START_FAILED',
  ],
  [
    'a missing library',
    '/a/mysqld: error while loading shared libraries: libaio.so.1: cannot open shared object file: No such file or directory',
    'SERVER_START_FAILED',
  ],
  [
    'data of a later version',
    mysql('ERROR', 'Server', 'Invalid MySQL server downgrade: Cannot downgrade from 90704 to 80403. Target MySQL server version is lower'),
    'SERVER_START_FAILED',
  ],
  [
    'damaged data',
    [
      maria('ERROR', 'InnoDB: Invalid flags 0x7070707 in ./ibdata1'),
      maria('ERROR', "Plugin 'InnoDB' registration as a STORAGE ENGINE failed."),
      maria('ERROR', 'Unknown/unsupported storage engine: InnoDB'),
      maria('ERROR', 'Aborting'),
    ].join('\n'),
    'SERVER_START_FAILED',
  ],
  [
    'a missing file of the data',
    [
      mysql('ERROR', 'InnoDB', 'Operating system error number 2 in a file operation.'),
      mysql('ERROR', 'InnoDB', "File ./ibdata1: 'open' returned OS error 71. Cannot continue operation"),
    ].join('\n'),
    'SERVER_START_FAILED',
  ],
]

describe('what the end of the log of MySQL or MariaDB says', () => {
  for (const [what, log, code, parameter] of cases) {
    it(`tells ${what}, with a suggestion`, () => {
      const error = explainFailure(log)
      assert.equal(error.code, code, error.message)
      assert.equal(error.details['parameter'], parameter)
      assert.ok(error.suggestions.length > 0)
      // the reason itself, not that it ended, and without the path of the program
      assert.doesNotMatch(error.message, /undefined|Aborting|Program aborted|STORAGE ENGINE|bin\/mysqld/)
    })
  }

  it('has words for each kind of failure of its own', () => {
    const says = (what: string): string => explainFailure(cases.find(([name]) => name === what)?.[1] ?? '').message
    assert.match(says('a running twin'), /another server still runs/)
    assert.match(says('a key that cannot be read'), /cannot use its certificate/)
    assert.match(says('data of a later version'), /of another version/)
    assert.match(says('damaged data'), /cannot be opened: InnoDB: Invalid flags/)
    assert.match(says('a missing file of the data'), /ibdata1/)
    assert.match(says('a missing library'), /do not run on this machine/)
  })

  it('repeats what it does not know, and says so when there is nothing', () => {
    assert.match(explainFailure(mysql('ERROR', 'Server', 'The moon is full.')).message, /did not start: The moon is full\./)
    assert.match(explainFailure(`${maria('Note', 'hello')}\n${maria('ERROR', 'Aborting')}`).message, /did not start: hello/)
    assert.match(explainFailure('').message, /without a word/)
  })
})
