/** The places of nodes: which volume is whose. */
import {DbaasError} from '../../../core/errors.js'
import type {ImagePin} from '../../../core/instance/instance.js'
import type {Placement} from '../runtime.js'
import {filterBy, labels, labelsOfNode} from './labels.js'
import {nameOfNode} from './names.js'
import type {Place} from './recipe.js'
import type {Volume, Volumes} from './volumes.js'

export type Places = ReturnType<typeof createPlaces>

export function createPlaces(siteId: string, volumes: Volumes) {
  /** By node: the name that its volume was made with, which the instance may no longer have. */
  const names = new Map<string, string>()

  const nameFor = (placement: Placement): string => names.get(placement.nodeId) ?? nameOfNode(siteId, placement)

  /** The node's volume, by its name, or by its label where the instance was renamed, or adopted from another site. */
  async function volumeOf(placement: Placement): Promise<Volume | undefined> {
    const volume = (await volumes.find(nameFor(placement))) ?? (await volumes.list(filterBy({[labels.node]: placement.nodeId, [labels.role]: 'data'}).label))[0]
    if (volume) names.set(placement.nodeId, volume.Name)
    return volume
  }

  return {
    nameFor,
    volumeOf,

    /** As it is, or as it would be made. Throws ENGINE_NOT_INSTALLED where the image is not known. */
    of: (placement: Placement): Place => ({
      nodeId: placement.nodeId, name: nameFor(placement), image: imageOf(placement), labels: labelsOfNode(siteId, 'server', placement),
      cpu: placement.size.cpu, memoryBytes: placement.size.memory_bytes,
    }),

    /** Throws INVALID_STATE when there is none: a container that is made without its volume would get an empty one. */
    async existing(placement: Placement): Promise<Place> {
      if (await volumeOf(placement)) return this.of(placement)
      throw new DbaasError('INVALID_STATE', `${placement.instanceName} has no place: its volume does not exist`, {
        details: {node_id: placement.nodeId, volume: nameFor(placement)}, suggestions: ['docker volume ls', 'dbaas doctor'],
      })
    },

    /** Whose volume has that name, as far as this agent has met it. */
    nodeOfVolume: (name: string): string | undefined => [...names].find(([, each]) => each === name)?.[0],

    forget: (nodeId: string): void => void names.delete(nodeId),
  }
}

function imageOf(placement: Placement): ImagePin {
  if (placement.image) return placement.image
  throw new DbaasError('ENGINE_NOT_INSTALLED', `the image of ${placement.instanceName} is not known`, {
    details: {engine: placement.engine, version: placement.version}, suggestions: [`dbaas engines install ${placement.engine}@${placement.version} --runtime docker`],
  })
}
