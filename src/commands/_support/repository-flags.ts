import * as Flags from '@oclif/core/flags'

/** How a bucket is reached. */
export const bucketFlags = {
  endpoint: Flags.string({helpValue: '<url>', description: 'server of the bucket, when it is not Amazon'}),
  region: Flags.string({description: 'region of the bucket'}),
  'path-style': Flags.boolean({allowNo: true, description: 'whether the bucket is named in the path, or in the host name; by default where it is not Amazon'}),
  ca: Flags.string({helpValue: '<file>', description: "PEM of the authority that the server's certificate is of"}),
  'min-tls': Flags.string({options: ['1.2', '1.3'], description: 'oldest TLS that is accepted (1.3)'}),
  'plain-text': Flags.boolean({description: 'allow http to another machine: contents are encrypted all the same, names and sizes are not'}),
  credentials: Flags.string({helpValue: '<file>', description: 'file with aws_access_key_id and aws_secret_access_key, like ~/.aws/credentials; - is stdin'}),
  profile: Flags.string({default: 'default', description: 'which section of the file'}),
}
